/**
 * @file event_groups.h
 * @brief Host stand-in: groups of 24 flags that tasks wait for.
 */
#ifndef WM_HOST_FREERTOS_EVENT_GROUPS_H
#define WM_HOST_FREERTOS_EVENT_GROUPS_H

#include "task.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A group of flags. */
typedef struct EventGroupDef_t *EventGroupHandle_t;
/** Flags; the upper 8 bits are not available. */
typedef TickType_t EventBits_t;

/** Makes a group with all flags clear; NULL without memory. */
EventGroupHandle_t xEventGroupCreate(void);

/** Frees a group nobody waits for. */
void vEventGroupDelete(EventGroupHandle_t group);

/** Sets flags and wakes who waits for them; returns the flags afterwards. */
EventBits_t xEventGroupSetBits(EventGroupHandle_t group, EventBits_t bits);

/** Clears flags; returns the flags as they were before. */
EventBits_t xEventGroupClearBits(EventGroupHandle_t group, EventBits_t bits);

/** The flags. */
EventBits_t xEventGroupGetBits(EventGroupHandle_t group);

/**
 * @brief Waits for one, or with @p all every, flag of @p bits.
 * @param clear whether to clear @p bits when the wait succeeds
 * @return the flags before that, which tell on a time-out that the condition does not hold
 */
EventBits_t xEventGroupWaitBits(EventGroupHandle_t group, EventBits_t bits, BaseType_t clear, BaseType_t all,
                                TickType_t ticks);

#ifdef __cplusplus
}
#endif

#endif
