/* The types that lwIP makes its tasks' meeting points of. */
#ifndef FIRMWARE_LWIP_SYS_ARCH_H
#define FIRMWARE_LWIP_SYS_ARCH_H

#include "freertos/FreeRTOS.h"
#include "freertos/queue.h"
#include "freertos/semphr.h"
#include "freertos/task.h"

typedef SemaphoreHandle_t sys_sem_t;
typedef SemaphoreHandle_t sys_mutex_t;
typedef QueueHandle_t sys_mbox_t;
typedef TaskHandle_t sys_thread_t;
typedef int sys_prot_t;

#define sys_sem_valid(sem)             (*(sem) != NULL)
#define sys_sem_set_invalid(sem)       (*(sem) = NULL)
#define sys_mutex_valid(mutex)         (*(mutex) != NULL)
#define sys_mutex_set_invalid(mutex)   (*(mutex) = NULL)
#define sys_mbox_valid(mbox)           (*(mbox) != NULL)
#define sys_mbox_set_invalid(mbox)     (*(mbox) = NULL)
#define sys_msleep(ms)                 vTaskDelay(pdMS_TO_TICKS(ms))

/* Each task has a semaphore for its calls of netconn; it is made with the first and goes with the task. */
sys_sem_t *sys_task_semaphore(void);
void sys_task_ends(void *task);
#define LWIP_NETCONN_THREAD_SEM_GET()   sys_task_semaphore()
#define LWIP_NETCONN_THREAD_SEM_ALLOC() ((void)sys_task_semaphore())
#define LWIP_NETCONN_THREAD_SEM_FREE()

#endif
