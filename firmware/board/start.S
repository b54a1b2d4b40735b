/* From reset to main: registers, bss, thread-local data of the C library (one copy for all tasks), the trap vector. */
    .section .reset, "ax"
    .global _start
_start:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, board_stack_end
    la tp, board_tls
    la t0, board_bss
    la t1, board_bss_end
1:  bgeu t0, t1, 2f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 1b
2:  la t0, freertos_risc_v_trap_handler
    csrw mtvec, t0
    call board_main
3:  j 3b
