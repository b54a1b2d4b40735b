#include "raw_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fake_broker.h"

struct raw_client {
    conn_t *conn;
    int next_id;
};

static int take_id(raw_client_t *client)
{
    client->next_id = client->next_id % 65535 + 1;
    return client->next_id;
}

raw_client_t *raw_connect(int port, const char *client_id, bool clean)
{
    raw_client_t *client = test_alloc(sizeof *client);
    client->conn = conn_connect(port);
    send_bytes(client->conn, "10 [ s'MQTT' 04 %02x 0000 s'%s' ]", clean ? 2 : 0, client_id);
    expect_bytes(client->conn, "20 02 ?? 00");
    return client;
}

/* The next packet that is no step of a QoS 2 message to this client. */
static packet_t next_answer(raw_client_t *client)
{
    for (;;) {
        packet_t p;
        REQUIRE(read_packet(client->conn, &p, 10000));
        if (p.first != 0x62) return p;
        send_bytes(client->conn, "70 02 %04x", p.id);
    }
}

static void expect_answer(raw_client_t *client, int first, int id)
{
    packet_t p = next_answer(client);
    REQUIRE_EQ(p.first, first);
    REQUIRE_EQ(p.id, id);
}

void raw_subscribe(raw_client_t *client, const char *filter, int qos)
{
    int id = take_id(client);
    send_bytes(client->conn, "82 [ %04x s'%s' %02x ]", id, filter, qos);
    expect_answer(client, 0x90, id);
}

static void finish(raw_client_t *client, int id, int qos)
{
    if (qos == 1) {
        expect_answer(client, 0x40, id);
    } else if (qos == 2) {
        expect_answer(client, 0x50, id);
        send_bytes(client->conn, "62 02 %04x", id);
        expect_answer(client, 0x70, id);
    }
}

void raw_publish(raw_client_t *client, const char *topic, const void *payload, size_t len, int qos, bool retain)
{
    int id = qos ? take_id(client) : 0;
    REQUIRE(send_publish(client->conn, 0x30 | qos << 1 | retain, topic, id, payload, len));
    finish(client, id, qos);
}

void raw_publish_many(raw_client_t *client, const char *topic, int n, int qos)
{
    enum { WINDOW = 16 }; /* mosquitto loses inbound QoS 2 messages beyond its max_inflight_messages */
    int sent = 0, done = 0;
    while (done < n) {
        while (sent < n && sent - done < WINDOW) {
            char text[16];
            int len = snprintf(text, sizeof text, "%d", sent++);
            REQUIRE(send_publish(client->conn, 0x30 | qos << 1, topic, qos ? take_id(client) : 0, text, (size_t)len));
            if (qos == 0) done++;
        }
        if (qos == 0) continue;
        packet_t p = next_answer(client);
        if (p.first == 0x50) send_bytes(client->conn, "62 02 %04x", p.id);
        else if (p.first == 0x40 || p.first == 0x70) done++;
        else FAIL("a packet %02x instead of an acknowledgement", p.first);
    }
}

bool raw_receive(raw_client_t *client, raw_message_t *message, long ms)
{
    packet_t p;
    long until = now_ms() + scaled(ms);
    memset(message, 0, sizeof *message);
    for (;;) {
        long left = until - now_ms();
        if (left < 0 || !read_packet(client->conn, &p, left)) return false;
        if (p.first == 0x62) send_bytes(client->conn, "70 02 %04x", p.id);
        if (p.first >> 4 == 3) break;
    }
    REQUIRE(p.topic_len < sizeof message->topic);
    memcpy(message->topic, p.topic, p.topic_len);
    message->payload = test_alloc(p.payload_len + 1);
    memcpy(message->payload, p.payload, p.payload_len);
    message->len = p.payload_len;
    message->qos = p.first >> 1 & 3;
    message->retained = p.first & 1;
    message->dup = p.first & 8;
    if (message->qos == 1) send_bytes(client->conn, "40 02 %04x", p.id);
    if (message->qos == 2) send_bytes(client->conn, "50 02 %04x", p.id);
    return true;
}

bool raw_silence(raw_client_t *client, long ms)
{
    packet_t p;
    long until = now_ms() + ms;
    for (;;) {
        long left = until - now_ms();
        if (left <= 0 || !read_packet(client->conn, &p, (long)(left / slowness()))) return true;
        if (p.first == 0x62) send_bytes(client->conn, "70 02 %04x", p.id);
        if (p.first >> 4 == 3) return false;
    }
}

void raw_disconnect(raw_client_t *client)
{
    send_bytes(client->conn, "e0 00");
    expect_eof_after_anything(client->conn, 5000);
    conn_close(client->conn);
}

void raw_break(raw_client_t *client) { conn_close(client->conn); }
