/* lwIP as the SDK configures it. */
#ifndef FIRMWARE_LWIPOPTS_H
#define FIRMWARE_LWIPOPTS_H

#include "wm_task_config.h"

#define NO_SYS                 0
#define SYS_LIGHTWEIGHT_PROT   1
#define LWIP_TIMEVAL_PRIVATE   0
#define LWIP_ERRNO_STDINCLUDE  1
#define LWIP_STATS             0
#define MEM_ALIGNMENT          4

/* Everything from malloc(). */
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_USE_POOLS   0

#define LWIP_TCPIP_CORE_LOCKING       0
#define LWIP_TCPIP_CORE_LOCKING_INPUT 0
#define TCPIP_THREAD_STACKSIZE        WM_TASK_TCPIP_STACK
#define TCPIP_THREAD_PRIO             WM_TASK_TCPIP_PRIO
#define TCPIP_MBOX_SIZE               32
#define DEFAULT_TCP_RECVMBOX_SIZE     6
#define DEFAULT_UDP_RECVMBOX_SIZE     6
#define DEFAULT_RAW_RECVMBOX_SIZE     2
#define DEFAULT_ACCEPTMBOX_SIZE       5

#define LWIP_SOCKET                 1
#define LWIP_COMPAT_SOCKETS         0
#define LWIP_NETCONN                1
#define MEMP_NUM_NETCONN            8
#define LWIP_NETCONN_SEM_PER_THREAD 1
#define LWIP_NETCONN_FULLDUPLEX     1
#define LWIP_SO_RCVTIMEO            1
#define LWIP_SO_SNDTIMEO            1
#define LWIP_SO_RCVBUF              1
#define LWIP_SO_LINGER              1
#define LWIP_TCP_KEEPALIVE          1
#define RECV_BUFSIZE_DEFAULT        65536
#define SO_REUSE                    1

#define TCP_MSS            1460
#define TCP_WND            (WINDOW * TCP_MSS)
#define TCP_SND_BUF        (SEND_BUFFER * TCP_MSS)
#define TCP_SND_QUEUELEN   30
#define MEMP_NUM_TCP_SEG   32
#define TCP_MSL            2000UL
#define TCP_MAXRTX         MAXRTX
#define TCP_SYNMAXRTX      SYNMAXRTX
#define TCP_LISTEN_BACKLOG 1
#define WINDOW 8
#define SEND_BUFFER 6
#define MAXRTX 3
#define SYNMAXRTX 4

#define LWIP_RAW                 1
#define LWIP_IPV4                1
#define LWIP_DHCP                1
#define LWIP_IPV6                1
#define LWIP_IPV6_MLD            1
#define LWIP_IPV6_SCOPES         0
#define LWIP_DNS                 1
#define DNS_MAX_SERVERS          2
#define LWIP_NETIF_API           1
#define LWIP_NETIF_HOSTNAME      1
#define ARP_QUEUEING             1
/* No loopback interface: nothing can wake a select(). */
#define LWIP_HAVE_LOOPIF         0
#define LWIP_NETIF_LOOPBACK      0

/* 127.0.0.1 is the host's, by way of the card: the tests' addresses are the same as on the host. */
#define LWIP_HOOK_FILENAME       "network.h"
#define LWIP_HOOK_IP4_ROUTE(to)  network_route(to)

#endif
