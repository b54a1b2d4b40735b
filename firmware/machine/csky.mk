# The device's core by way of an emulator: compiled as scripts/csky.sh compiles, newlib, sockets of the host.
PREFIX := csky-elfabiv2-
ARCH   := -mcpu=ck803fr1 -mhard-float

MACHINE_SRC := $(wildcard firmware/csky/*.c) src/port/freertos/wm_mqtt_xt804.c
MACHINE_OBJ := $(OUT)/firmware/csky/setjmp.o
MACHINE_INCLUDES := -Ifirmware/csky/include -Ifirmware/posix/include -Isrc/port/freertos -include firmware/csky/include/without_threads.h

MACHINE_LINK := $(ARCH) -nostdlib -Wl,--no-warn-execstack -Wl,-Ttext-segment=0x100000
MACHINE_LIBS := -lc -lgcc -lc
