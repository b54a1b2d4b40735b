/* What newlib lacks on C-SKY: r4 to r11, r15, sp, vr8 to vr15. */
#ifndef SETJMP_H
#define SETJMP_H

typedef unsigned jmp_buf[18];
int setjmp(jmp_buf place) __attribute__((returns_twice));
void longjmp(jmp_buf place, int value) __attribute__((noreturn));

#endif
