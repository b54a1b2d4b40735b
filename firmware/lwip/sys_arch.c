/* lwIP's view of FreeRTOS. */
#include "lwip/sys.h"

#include "lwip/err.h"

enum { SEMAPHORE_SLOT = 0 };

void sys_init(void) {}

u32_t sys_now(void) { return xTaskGetTickCount() * portTICK_PERIOD_MS; }

sys_prot_t sys_arch_protect(void)
{
    taskENTER_CRITICAL();
    return 0;
}

void sys_arch_unprotect(sys_prot_t unused)
{
    (void)unused;
    taskEXIT_CRITICAL();
}

/* 0 is for ever. */
static TickType_t ticks(u32_t ms) { return ms ? pdMS_TO_TICKS(ms) : portMAX_DELAY; }

/* ---- semaphores and mutexes ---- */

err_t sys_sem_new(sys_sem_t *sem, u8_t count)
{
    *sem = xSemaphoreCreateBinary();
    if (*sem && count) xSemaphoreGive(*sem);
    return *sem ? ERR_OK : ERR_MEM;
}

void sys_sem_free(sys_sem_t *sem)
{
    vSemaphoreDelete(*sem);
    *sem = NULL;
}

void sys_sem_signal(sys_sem_t *sem) { xSemaphoreGive(*sem); }

u32_t sys_arch_sem_wait(sys_sem_t *sem, u32_t ms) { return xSemaphoreTake(*sem, ticks(ms)) ? 0 : SYS_ARCH_TIMEOUT; }

err_t sys_mutex_new(sys_mutex_t *mutex)
{
    *mutex = xSemaphoreCreateMutex();
    return *mutex ? ERR_OK : ERR_MEM;
}

void sys_mutex_free(sys_mutex_t *mutex) { vSemaphoreDelete(*mutex); }
void sys_mutex_lock(sys_mutex_t *mutex) { xSemaphoreTake(*mutex, portMAX_DELAY); }
void sys_mutex_unlock(sys_mutex_t *mutex) { xSemaphoreGive(*mutex); }

/* As the SDK's: made when a task needs it first, and without memory for it the program stops. */
sys_sem_t *sys_task_semaphore(void)
{
    enum { TASKS = 64 };
    static sys_sem_t semaphores[TASKS];
    sys_sem_t *sem = pvTaskGetThreadLocalStoragePointer(NULL, SEMAPHORE_SLOT);
    if (sem) return sem;
    vTaskSuspendAll();
    for (sem = semaphores; *sem; sem++) configASSERT(sem < semaphores + TASKS - 1);
    configASSERT(sys_sem_new(sem, 0) == ERR_OK);
    xTaskResumeAll();
    vTaskSetThreadLocalStoragePointer(NULL, SEMAPHORE_SLOT, sem);
    return sem;
}

void sys_task_ends(void *task)
{
    sys_sem_t *sem = pvTaskGetThreadLocalStoragePointer(task, SEMAPHORE_SLOT);
    if (sem) sys_sem_free(sem);
}

/* ---- mailboxes: queues of pointers ---- */

err_t sys_mbox_new(sys_mbox_t *mbox, int size)
{
    *mbox = xQueueCreate((UBaseType_t)size, sizeof(void *));
    configASSERT(*mbox); /* as in the SDK's */
    return ERR_OK;
}

void sys_mbox_free(sys_mbox_t *mbox)
{
    vQueueDelete(*mbox);
    *mbox = NULL;
}

void sys_mbox_post(sys_mbox_t *mbox, void *message) { xQueueSendToBack(*mbox, &message, portMAX_DELAY); }

err_t sys_mbox_trypost(sys_mbox_t *mbox, void *message)
{
    return xQueueSendToBack(*mbox, &message, 0) == pdPASS ? ERR_OK : ERR_MEM;
}

err_t sys_mbox_trypost_fromisr(sys_mbox_t *mbox, void *message)
{
    BaseType_t woken = pdFALSE;
    return xQueueSendToBackFromISR(*mbox, &message, &woken) == pdPASS ? ERR_OK : ERR_MEM;
}

static u32_t fetch(sys_mbox_t *mbox, void **message, TickType_t wait)
{
    void *unwanted;
    return xQueueReceive(*mbox, message ? message : &unwanted, wait) == pdPASS ? 0 : SYS_ARCH_TIMEOUT;
}

u32_t sys_arch_mbox_fetch(sys_mbox_t *mbox, void **message, u32_t ms) { return fetch(mbox, message, ticks(ms)); }

u32_t sys_arch_mbox_tryfetch(sys_mbox_t *mbox, void **message)
{
    return fetch(mbox, message, 0) == 0 ? 0 : SYS_MBOX_EMPTY;
}

/* ---- tasks ---- */

sys_thread_t sys_thread_new(const char *name, lwip_thread_fn run, void *argument, int stack_bytes, int priority)
{
    TaskHandle_t task = NULL;
    xTaskCreate(run, name, (configSTACK_DEPTH_TYPE)(stack_bytes / (int)sizeof(StackType_t)), argument,
                (UBaseType_t)priority, &task);
    configASSERT(task);
    return task;
}
