/**
 * @file wm_types.h
 * @brief Host stand-in: the basic types every SDK header builds on.
 *
 * It brings in <stdio.h>, <stdint.h> and <stdbool.h> and nothing else, as on the device: a source that compiles here
 * must not owe that to a header the SDK would not have given it.
 */
#ifndef WM_HOST_TYPES_H
#define WM_HOST_TYPES_H

#include <stdio.h>
#include <stdint.h>
#include <stdbool.h>

/** The handle that stands for "no object". */
#define WM_INVALID_HANDLE ((void *)0)

#ifndef likely
/** Tells the compiler that @p x is usually true. */
#define likely(x) __builtin_expect(!!(x), 1)
#endif
#ifndef unlikely
/** Tells the compiler that @p x is usually false. */
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

#endif
