/* Before all else on C-SKY: newlib has types of threads, but no threads. Those of posix/include take their place. */
#define _SYS__PTHREADTYPES_H_
typedef struct tskTaskControlBlock *pthread_t;
