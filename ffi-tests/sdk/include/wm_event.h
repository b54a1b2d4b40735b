/**
 * @file wm_event.h
 * @brief Host stand-in: the SDK's event task.
 *
 * One task takes events from one FIFO queue (CONFIG_WM_EVENT_QUEUE_SIZE entries) and calls the callbacks registered
 * for them, in the order of registration. It runs before main(), so applications do not call wm_event_init(). On a
 * host no signal handler runs in it.
 * Test programs that want to see inside use wm_host.h.
 */
#ifndef WM_HOST_EVENT_H
#define WM_HOST_EVENT_H

#include "wm_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Declares an event group in a module's public header. */
#define WM_EVENT_DECLARE_GROUP(group) extern wm_event_group_t const group
/** Defines an event group, once, in a module's source. */
#define WM_EVENT_DEFINE_GROUP(group)  wm_event_group_t const group = #group

#define WM_EVENT_ANY_GROUP            NULL /**< register for the events of every group */
#define WM_EVENT_ANY_TYPE             -1   /**< register for every event of a group */

/** An event group. The pointer is its identity; the text behind it is only its name. */
typedef const char *wm_event_group_t;

/**
 * @brief Called on the event task for every matching event.
 * @param group the event's group
 * @param event the event's number within the group
 * @param data  a copy of what the sender passed, valid until the callback returns; NULL if there was none
 * @param priv  the pointer given at registration
 */
typedef void (*wm_event_callback)(wm_event_group_t group, int event, void *data, void *priv);

/**
 * @brief Starts the event task.
 * @return WM_ERR_SUCCESS, WM_ERR_ALREADY_INITED while it runs, WM_ERR_FAILED if no thread could be made
 */
int wm_event_init(void);

/**
 * @brief Delivers what is queued, then ends the event task and forgets all callbacks.
 * @return WM_ERR_SUCCESS; WM_ERR_FAILED if it does not run, or when called from a callback
 */
int wm_event_deinit(void);

/**
 * @brief Queues the registration of a callback; the same four values are registered once.
 * @return WM_ERR_SUCCESS, WM_ERR_INVALID_PARAM (no callback), WM_ERR_NO_MEM, WM_ERR_FAILED (queue full or no event
 *         task)
 */
int wm_event_add_callback(wm_event_group_t group, int event, wm_event_callback callback, void *priv);

/**
 * @brief Queues the removal of a callback; removing one that is not registered is no error.
 * @return as for wm_event_add_callback()
 */
int wm_event_remove_callback(wm_event_group_t group, int event, wm_event_callback callback, void *priv);

/**
 * @brief Queues an event with a copy of @p size bytes at @p data. Never blocks.
 * @return WM_ERR_SUCCESS, WM_ERR_INVALID_PARAM (no group, or only one of @p data and @p size given), WM_ERR_NO_MEM,
 *         WM_ERR_FAILED (queue full or no event task: the event is lost)
 */
int wm_event_send(wm_event_group_t group, int event, void *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif
