// Go routines on many threads that make, resize and free blocks of C, and hand them on.
package main

/*
#include <stdlib.h>
#include <string.h>

static long fill(char *block, size_t size, int value) {
    long sum = 0;
    memset(block, value, size);
    for (size_t i = 0; i < size; i++) sum += block[i];
    return sum;
}
*/
import "C"

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"unsafe"
)

// A Go program ends without exit(), so the harness looks at it while it lives.
func passGate() {
	gate, err := net.Dial("unix", os.Getenv("LIBALLOC_GATE"))
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(gate, "self")
	gate.Read(make([]byte, 16))
	gate.Close()
}

func main() {
	blocks := make(chan unsafe.Pointer, 100)
	var makers, takers sync.WaitGroup
	sums := make([]int64, 8)
	for number := 0; number < 8; number++ {
		makers.Add(1)
		go func(number int) {
			defer makers.Done()
			runtime.LockOSThread() // a thread of its own, which ends with the routine
			for i := 0; i < 3000; i++ {
				size := C.size_t(i*37%2000 + 1)
				block := C.malloc(size)
				sums[number] += int64(C.fill((*C.char)(block), size, C.int(number)))
				blocks <- C.realloc(block, size*2)
				text := C.CString(fmt.Sprint("text ", i))
				sums[number] += int64(len(C.GoString(text)))
				C.free(unsafe.Pointer(text))
			}
		}(number)
	}
	for number := 0; number < 3; number++ {
		takers.Add(1)
		go func() {
			defer takers.Done()
			for block := range blocks {
				C.free(block)
			}
		}()
	}
	makers.Wait()
	close(blocks)
	takers.Wait()
	fmt.Println(sums)
	passGate()
}
