# Blocks made, resized and freed by the debugger in the program. Calls are made by hand: gdb 13's
# own `call` fails on processors that have more registers to save than it knows.
set confirm off
set pagination off
set print thread-events off
backtrace
break returned
define by_hand
    set $kept_pc = (unsigned long) $pc
    set $kept_sp = (unsigned long) $sp
    set $sp = (((unsigned long) $sp - 1024) & ~15) - 8
    set *(unsigned long *) $sp = (unsigned long) &returned
    set $rdi = $arg1
    set $rsi = $arg2
    set $rax = 0
    set $pc = (unsigned long) $arg0
    continue
    set $answer = $rax
    set $pc = $kept_pc
    set $sp = $kept_sp
end
by_hand malloc 100 0
set $block = (char *) $answer
printf "RESULT block %d aligned %d\n", $block != 0, ((unsigned long) $block & 15) == 0
by_hand malloc 100 0
printf "RESULT second %d\n", $answer != 0 && $answer != (long) $block
by_hand free $answer 0
set var $block[99] = 'x'
by_hand realloc $block 3000000
set $block = (char *) $answer
printf "RESULT kept %c\n", $block[99]
by_hand calloc 1000 50
printf "RESULT zero %d\n", ((char *) $answer)[49999] == 0
by_hand free $answer 0
by_hand free $block 0
by_hand strdup sample 0
set var from_debugger = (char *) $answer
set var waiting = 0
detach
