// Maps, slices and routines without a libc in the process: it must not mind the preload.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

func main() {
	counts := map[string]int{}
	for i := 0; i < 200000; i++ {
		counts[fmt.Sprint("key", i*7919%4001)] += i
	}
	keys := make([]string, 0, len(counts))
	for key := range counts {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	fmt.Println(len(keys), counts[keys[17]], len(strings.Join(keys, ",")))
	maps, _ := os.ReadFile("/proc/self/maps")
	fmt.Println("libc in the process:", strings.Contains(string(maps), "libc"))
}
