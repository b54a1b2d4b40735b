# QEMU's `virt` machine, RV32: the kernel's own port, lwIP, picolibc.
PREFIX := riscv64-unknown-elf-
ARCH   := -march=rv32imac_zicsr -mabi=ilp32 --specs=picolibc.specs

PORT     := $(KERNEL)/portable/GCC/RISC-V
PORT_SRC := $(PORT)/port.c
LWIP_SRC := $(wildcard $(addprefix $(LWIP)/src/,core/*.c core/ipv4/*.c core/ipv6/*.c api/*.c netif/ethernet.c))

MACHINE_SRC := firmware/board/virt.c $(wildcard firmware/lwip/*.c) src/port/freertos/wm_mqtt_lwip.c src/port/freertos/wm_mqtt_socket.c
MACHINE_OBJ := $(OUT)/kernel/portASM.o $(OUT)/firmware/board/start.o
MACHINE_INCLUDES := -I$(PORT) -I$(PORT)/chip_specific_extensions/RISCV_MTIME_CLINT_no_extensions -Ifirmware/lwip \
	-Isrc/port/freertos -I$(LWIP)/src/include

LINKER_SCRIPT := firmware/board/board.ld
MACHINE_LINK  := -march=rv32imac -mabi=ilp32 --specs=picolibc.specs -T$(LINKER_SCRIPT) -Wl,--no-warn-rwx-segments
