/* The device port's sockets, over lwIP. */
#include <pthread.h>
#include <string.h>

#include "board.h"
#include "client.h"
#include "fake_broker.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "net.h"
#include "wm_task_config.h"

static const address_t loopback_v4 = {.bytes = {127, 0, 0, 1}};

/* The connection to this port. */
static struct {
    int port;
    bool exists, acknowledges_later, has_owner, ends_silently;
    enum tcp_state state;
} seen;

static void look_at_list(struct tcp_pcb *pcb)
{
    for (; pcb != NULL; pcb = pcb->next) {
        if (pcb->remote_port != seen.port) continue;
        seen.exists = true;
        seen.acknowledges_later = tcp_is_flag_set(pcb, TF_ACK_DELAY);
        seen.has_owner = pcb->callback_arg != NULL;
        seen.ends_silently = tcp_is_flag_set(pcb, TF_RXCLOSED);
        seen.state = pcb->state;
    }
}

static void look_at_connections(void)
{
    look_at_list(tcp_active_pcbs);
    look_at_list(tcp_tw_pcbs);
}

static void see(int port)
{
    memset(&seen, 0, sizeof seen);
    seen.port = port;
    look(look_at_connections);
}

/* Resets that leave the machine. */
static netif_linkoutput_fn send_frame;
static int resets;

static err_t send_counted(struct netif *card, struct pbuf *frame)
{
    enum { PROTOCOL = 14 + 9, FLAGS = 14 + 20 + 13, TCP = 6, RST = 4 };
    resets += pbuf_get_at(frame, PROTOCOL) == TCP && (pbuf_get_at(frame, FLAGS) & RST);
    return send_frame(card, frame);
}

static void count_resets_now(void)
{
    resets = 0;
    if (netif_default->linkoutput == send_counted) return;
    send_frame = netif_default->linkoutput;
    netif_default->linkoutput = send_counted;
}

/* ---- sockets ---- */

typedef struct {
    void *net, *socket;
    broker_t *broker;
    conn_t *peer;
    int port;
} link_t;

static link_t link_up(broker_t *broker)
{
    link_t link = {.net = open_net(), .broker = broker, .port = broker_port(broker)};
    news_t event;
    int error;
    link.socket = wm_mqtt_port_connect(link.net, 1, &loopback_v4, (uint16_t)link.port, &error);
    REQUIRE(link.socket != NULL);
    link.peer = broker_accept(broker);
    while ((error = wm_mqtt_port_established(link.socket)) == WM_MQTT_PORT_WOULD_BLOCK)
        wm_mqtt_port_net_wait(link.net, 1000, &event);
    REQUIRE_EQ(error, 0);
    CHECK(wm_mqtt_port_is_acknowledged(link.socket));
    look(count_resets_now);
    return link;
}

/* Closes it; it has sent no reset until now, and sends none. */
static void close_without_reset(link_t *link)
{
    wm_mqtt_port_close(link->socket);
    sleep_ms(100);
    CHECK_EQ(resets, 0);
}

/* Bytes read until the end, or what there is in time; negative: an error of lwIP's. */
static int read_all(link_t *link, bool *ended, long ms)
{
    uint8_t bytes[512];
    news_t event;
    int count = 0, got;
    *ended = false;
    for (long end = now_ms() + ms; now_ms() < end;) {
        got = wm_mqtt_port_read(link->socket, bytes, sizeof bytes);
        if (got == WM_MQTT_PORT_WOULD_BLOCK) {
            wm_mqtt_port_net_wait(link->net, 10, &event);
            continue;
        }
        if (got < 0) return got;
        if (got == 0) *ended = true;
        if (got == 0) break;
        count += got;
    }
    return count;
}

static bool becomes_acknowledged(link_t *link, long ms)
{
    for (long end = now_ms() + scaled(ms); now_ms() < end; sleep_ms(10))
        if (wm_mqtt_port_is_acknowledged(link->socket)) return true;
    return false;
}

/* As much as goes, into a peer that does not read. */
static void fill(link_t *link)
{
    static uint8_t bytes[4096];
    news_t event;
    for (long last = now_ms(); now_ms() - last < 500;) {
        int written = wm_mqtt_port_write(link->socket, bytes, sizeof bytes);
        if (written > 0) last = now_ms();
        else REQUIRE_EQ(written, WM_MQTT_PORT_WOULD_BLOCK);
        if (written < 0) wm_mqtt_port_net_wait(link->net, 100, &event);
    }
    CHECK(!wm_mqtt_port_is_acknowledged(link->socket));
}

static void peer_reads_late(void)
{
    bool ended;
    link_t link = link_up(broker_open_stalled());
    fill(&link);
    wm_mqtt_port_shutdown(link.socket);
    send_bytes(link.peer, "'unread'");
    sleep_ms(300);
    CHECK(!wm_mqtt_port_is_acknowledged(link.socket));
    expect_eof_after_anything(link.peer, 20000);
    /* With bytes in the mailbox, and the peer's stream open. */
    CHECK(becomes_acknowledged(&link, 2000));
    CHECK_EQ(read_all(&link, &ended, 200), 6);
    CHECK(!ended);
    CHECK(wm_mqtt_port_is_acknowledged(link.socket));
    close_without_reset(&link);
}

static void end_of_the_stream_counts(void)
{
    link_t link = link_up(broker_open());
    wm_mqtt_port_shutdown(link.socket);
    expect_eof(link.peer, 1000);
    CHECK(becomes_acknowledged(&link, 1000));
    see(link.port);
    CHECK_EQ(seen.state, FIN_WAIT_2);
    close_without_reset(&link);
}

/* The peer's end, and what a part of the window is kept closed for. */
static void peer_closes_first(void)
{
    enum { LEN = 20000 };
    bool ended;
    link_t link = link_up(broker_open());
    uint8_t *bytes = test_alloc(LEN);
    send_raw(link.peer, bytes, LEN);
    conn_half_close(link.peer);
    CHECK_EQ(read_all(&link, &ended, scaled(3000)), LEN);
    CHECK(ended);
    wm_mqtt_port_shutdown(link.socket);
    CHECK(becomes_acknowledged(&link, 1000));
    expect_eof(link.peer, 1000);
    close_without_reset(&link);
}

static void peer_resets(void)
{
    bool ended;
    link_t link = link_up(broker_open_stalled());
    fill(&link);
    wm_mqtt_port_shutdown(link.socket);
    CHECK(!wm_mqtt_port_is_acknowledged(link.socket));
    conn_reset(link.peer);
    CHECK(becomes_acknowledged(&link, 2000));
    int got = read_all(&link, &ended, 1000);
    CHECK(got < 0 || ended);
    close_without_reset(&link);
}

/* lwIP frees a connection that both sides have ended, seconds later: whoever comes then must not use it. */
static void both_have_ended(void)
{
    static const bool unread[] = {false, true};
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++) {
        check_row("%s", unread[i] ? "unread" : "nothing unread");
        bool ended;
        link_t link = link_up(broker_open());
        wm_mqtt_port_shutdown(link.socket);
        expect_eof(link.peer, 1000);
        see(link.port);
        if (unread[i]) send_bytes(link.peer, "'unread'");
        conn_close(link.peer);
        for (long end = now_ms() + scaled(1000); seen.state != TIME_WAIT && now_ms() < end; see(link.port)) sleep_ms(10);
        CHECK_EQ(seen.state, TIME_WAIT);
        CHECK(!seen.has_owner);
        sleep_ms(2 * TCP_MSL + 2 * TCP_SLOW_INTERVAL);
        see(link.port);
        CHECK(!seen.exists);
        CHECK(wm_mqtt_port_is_acknowledged(link.socket));
        wm_mqtt_port_acknowledge(link.socket);
        CHECK_EQ(read_all(&link, &ended, 1000), unread[i] ? 6 : 0);
        CHECK(ended);
        close_without_reset(&link);
    }
}

/* More segments than the mailbox takes, and the end behind them. */
static void mailbox_of_a_connection_is_full(void)
{
    bool ended;
    link_t link = link_up(broker_open());
    wm_mqtt_port_shutdown(link.socket);
    expect_eof(link.peer, 1000);
    for (int i = 0; i < 2 * DEFAULT_TCP_RECVMBOX_SIZE; i++) {
        send_bytes(link.peer, "'x'");
        sleep_ms(20);
    }
    conn_close(link.peer);
    sleep_ms(2 * TCP_MSL + 2 * TCP_SLOW_INTERVAL);
    CHECK(wm_mqtt_port_is_acknowledged(link.socket));
    CHECK(read_all(&link, &ended, scaled(8000)) >= DEFAULT_TCP_RECVMBOX_SIZE);
    CHECK(ended);
    close_without_reset(&link);
}

enum { IP = 14, LEN = IP + 2, PROTOCOL = IP + 9, TCP = IP + 20, OFFSET = TCP + 12, FLAGS = TCP + 13, SUM = TCP + 16 };

static netif_input_fn take_frame;

static void take_frames_with(netif_input_fn function)
{
    if (take_frame == NULL) take_frame = netif_default->input;
    netif_default->input = function;
}

static bool is_from_peer(const struct pbuf *frame)
{
    const uint8_t *bytes = frame->payload;
    return frame->len > SUM && bytes[PROTOCOL] == 6 && (bytes[TCP] << 8 | bytes[TCP + 1]) == seen.port;
}

/* The next bytes from the peer have the end of the stream in the same segment. */
static err_t take_with_end(struct pbuf *frame, struct netif *card)
{
    enum { FIN = 1 };
    uint8_t *bytes = frame->payload;
    if (!is_from_peer(frame) || (bytes[LEN] << 8 | bytes[LEN + 1]) <= TCP - IP + (bytes[OFFSET] >> 4) * 4)
        return take_frame(frame, card);
    unsigned sum = (~(unsigned)(bytes[SUM] << 8 | bytes[SUM + 1]) & 0xffff) + FIN;
    sum = ~(sum + (sum >> 16));
    bytes[FLAGS] |= FIN;
    bytes[SUM] = (uint8_t)(sum >> 8);
    bytes[SUM + 1] = (uint8_t)sum;
    take_frames_with(take_frame);
    return take_frame(frame, card);
}

/* What the peer sends is lost. */
static err_t take_from_others(struct pbuf *frame, struct netif *card)
{
    if (!is_from_peer(frame)) return take_frame(frame, card);
    pbuf_free(frame);
    return ERR_OK;
}

static void bytes_with_the_end_behind_a_full_mailbox(void)
{
    bool ended;
    link_t link = link_up(broker_open());
    wm_mqtt_port_shutdown(link.socket);
    expect_eof(link.peer, 1000);
    for (int i = 0; i < DEFAULT_TCP_RECVMBOX_SIZE; i++) {
        send_bytes(link.peer, "'x'");
        sleep_ms(20);
    }
    sleep_ms(500);
    long before = (long)board_heap_used();
    see(link.port);
    take_frames_with(take_with_end);
    send_bytes(link.peer, "'last'");
    for (long end = now_ms() + scaled(1000); seen.state != TIME_WAIT && now_ms() < end; see(link.port)) sleep_ms(10);
    CHECK_EQ(seen.state, TIME_WAIT);
    sleep_ms(2 * TCP_MSL + 2 * TCP_SLOW_INTERVAL);
    see(link.port);
    CHECK(!seen.exists);
    CHECK((long)board_heap_used() <= before);
    CHECK_EQ(read_all(&link, &ended, scaled(1000)), DEFAULT_TCP_RECVMBOX_SIZE);
    CHECK(ended);
    wm_mqtt_port_close(link.socket);
}

/* As many segments as the mailbox takes, and the end behind them: lwIP tells that once, and there is no place for it. */
static void end_behind_a_full_mailbox(void)
{
    bool ended;
    link_t link = link_up(broker_open());
    for (int i = 0; i < DEFAULT_TCP_RECVMBOX_SIZE; i++) {
        send_bytes(link.peer, "'x'");
        sleep_ms(20);
    }
    conn_close(link.peer);
    sleep_ms(200);
    CHECK_EQ(read_all(&link, &ended, scaled(3000)), DEFAULT_TCP_RECVMBOX_SIZE);
    CHECK(ended);
    close_without_reset(&link);
}

/* Between the end that the peer has sent and its acknowledgement of ours lwIP may free the connection at any time, and must tell. */
static void end_is_read_before_ours_is_acknowledged(void)
{
    bool ended;
    link_t link = link_up(broker_open());
    send_bytes(link.peer, "'last'");
    conn_half_close(link.peer);
    for (long end = now_ms() + scaled(1000); seen.state != CLOSE_WAIT && now_ms() < end; see(link.port)) sleep_ms(10);
    take_frames_with(take_from_others);
    wm_mqtt_port_shutdown(link.socket);
    CHECK_EQ(read_all(&link, &ended, scaled(1000)), 4);
    CHECK(ended);
    see(link.port);
    CHECK_EQ(seen.state, LAST_ACK);
    CHECK(!seen.ends_silently);
    CHECK(!wm_mqtt_port_is_acknowledged(link.socket));
    take_frames_with(take_frame);
    CHECK(becomes_acknowledged(&link, 5000));
    see(link.port);
    CHECK(!seen.exists);
    CHECK_EQ(read_all(&link, &ended, scaled(1000)), 0);
    CHECK(ended);
    close_without_reset(&link);
}

static void acknowledges_at_once(void)
{
    link_t link = link_up(broker_open());
    news_t event;
    uint8_t byte;
    int got, times = 0;
    for (int i = 0; i < 10; i++) {
        send_bytes(link.peer, "%02x", i);
        while ((got = wm_mqtt_port_read(link.socket, &byte, 1)) == WM_MQTT_PORT_WOULD_BLOCK)
            wm_mqtt_port_net_wait(link.net, 1000, &event);
        REQUIRE(got == 1 && byte == i);
        see(link.port);
        times += seen.acknowledges_later;
        wm_mqtt_port_acknowledge(link.socket);
        see(link.port);
        CHECK(!seen.acknowledges_later);
    }
    CHECK(times > 0); /* not ten: four times a second lwIP sends those that it kept back */
    close_without_reset(&link);
}

/* Whether nothing disturbs the task's sleep. On a busy machine ticks come in bursts, so it may be shorter. */
static bool sleeps(link_t *link, uint32_t ms)
{
    news_t event;
    long begin = now_ms();
    return !wm_mqtt_port_net_wait(link->net, ms, &event) && now_ms() - begin > (long)ms / 2;
}

static void only_news_wakes(void)
{
    link_t link = link_up(broker_open());
    news_t event;
    uint8_t byte = 0;
    while (!sleeps(&link, 100)) {
    }
    /* The acknowledgement of what was written. */
    REQUIRE_EQ(wm_mqtt_port_write(link.socket, &byte, 1), 1);
    CHECK(sleeps(&link, 300));
    CHECK(becomes_acknowledged(&link, 5000));
    /* What came while the task was awake is told once. */
    send_bytes(link.peer, "00");
    sleep_ms(300);
    CHECK(wm_mqtt_port_net_wait(link.net, 1000, &event));
    CHECK(sleeps(&link, 300));
    REQUIRE_EQ(wm_mqtt_port_read(link.socket, &byte, 1), 1);
    close_without_reset(&link);
}

/* A server that takes small segments only: what is written at a time may be more of them than lwIP's queue has places for. */
static void narrow_now(struct tcp_pcb *pcb)
{
    for (; pcb != NULL; pcb = pcb->next)
        if (pcb->remote_port == seen.port) pcb->mss = 256;
}

static void narrow(void) { narrow_now(tcp_active_pcbs); }

static void small_segments(void)
{
    static uint8_t bytes[TCP_SND_BUF];
    link_t link = link_up(broker_open());
    news_t event;
    see(link.port);
    look(narrow);
    int written = WM_MQTT_PORT_WOULD_BLOCK;
    for (long end = now_ms() + 5000; written == WM_MQTT_PORT_WOULD_BLOCK && now_ms() < end;) {
        written = wm_mqtt_port_write(link.socket, bytes, sizeof bytes);
        if (written < 0) wm_mqtt_port_net_wait(link.net, 1000, &event);
    }
    CHECK(written > 0);
    wm_mqtt_port_close(link.socket);
}

/* ---- memory ---- */

/* The MQTT task's first connection, with each amount of heap from too little for the task to almost enough for a socket. */
static void first_connect_without_memory(void)
{
    enum { LEAST = CONFIG_MQTT_CLIENT_TASK_STACK, MOST = LEAST + 4 * 1024, STEP = 16 };
    const char *uri = test_printf("mqtt://127.0.0.1:%d", unused_port());
    for (size_t left = LEAST; left < MOST; left += STEP) {
        check_row("%u bytes free", (unsigned)left);
        handle_t handle = client_for(uri, true);
        void **blocks = board_heap_take(left, left);
        int result = wm_mqtt_client_connect(handle);
        board_heap_give_back(blocks);
        CHECK_EQ(result, WM_MQTT_CLIENT_ERROR_FAILURE);
        CHECK_EQ(client_deinit(handle), 0);
        sleep_ms(5);
    }
}

/* ---- the processor ---- */

static void *note(void *ran)
{
    *(volatile bool *)ran = true;
    return NULL;
}

/* A server can keep the MQTT task busy without pause: tasks of lower priority get their turn all the same, to disconnect, say. */
static void lower_tasks_run(void)
{
    enum { SOME = 32, MANY = 1000 };
    void *net = open_net();
    volatile bool ran = false;
    pthread_t lower;
    news_t event;
    int turns = 0;
    vTaskPrioritySet(NULL, WM_TASK_MQTT_CLIENT_PRIO);
    REQUIRE_EQ(pthread_create(&lower, NULL, note, (void *)&ran), 0);
    for (; turns < MANY && !ran; turns++) CHECK(!wm_mqtt_port_net_wait(net, 0, &event));
    vTaskPrioritySet(NULL, WM_TASK_MAIN_PRIO);
    pthread_join(lower, NULL);
    CHECK(turns < MANY);
    CHECK(turns >= SOME);
}

static const test_t tests[] = {
    TEST(peer_reads_late),
    TEST(end_of_the_stream_counts),
    TEST(peer_closes_first),
    TEST(peer_resets),
    LONG_TEST(both_have_ended, 60),
    LONG_TEST(mailbox_of_a_connection_is_full, 60),
    LONG_TEST(bytes_with_the_end_behind_a_full_mailbox, 60),
    TEST(end_behind_a_full_mailbox),
    LONG_TEST(end_is_read_before_ours_is_acknowledged, 60),
    TEST(acknowledges_at_once),
    LONG_TEST(only_news_wakes, 60),
    LONG_TEST(first_connect_without_memory, 120),
    TEST(lower_tasks_run),
    LONG_TEST(small_segments, 60),
};
TESTS_MAIN(tests)
