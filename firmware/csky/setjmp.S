    .text
    .global setjmp
setjmp:
    stm r4-r11, (a0)
    st.w r15, (a0, 32)
    st.w sp, (a0, 36)
    addi a0, 40
    fstms vr8-vr15, (a0)
    movi a0, 0
    rts

    .global longjmp
longjmp:
    ldm r4-r11, (a0)
    ld.w r15, (a0, 32)
    ld.w sp, (a0, 36)
    addi a0, 40
    fldms vr8-vr15, (a0)
    mov a0, a1
    cmpnei a0, 0
    bt 1f
    movi a0, 1
1:  rts
