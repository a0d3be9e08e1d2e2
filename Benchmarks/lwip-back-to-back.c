// The workloads of fs-engine on lwIP (Debian's liblwip), for comparison: two interfaces of one stack back
// to back in memory, its raw API, one thread.
//
//   cc -O2 -I/usr/include/lwip -o lwip-back-to-back lwip-back-to-back.c -llwip
//   lwip-back-to-back short|keepalive COUNT
//
// Both ends of a connection are in one stack here, whose tables are lists: its TIME-WAIT records are aged by
// the stack's own timer between the slices, so that they do not count.
#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>
#include <lwip/tcpip.h>
#include <netif/ethernet.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONCURRENCY = 64, REQUEST = 64, RESPONSE = 64, BURST = 64, QUEUE = 4096, PORT = 8000, SLICES = 25 };

static void fail(const char *what) {
  fprintf(stderr, "lwip-back-to-back: %s\n", what);
  exit(1);
}

// MARK: Link

struct end {
  struct netif netif;
  struct end *peer;
  // Frames that have arrived.
  struct pbuf *queue[QUEUE];
  unsigned head, count;
  uint64_t sent;
};

static struct end client_end, server_end;

static err_t transmit(struct netif *netif, struct pbuf *packet) {
  struct end *end = netif->state, *peer = end->peer;
  if (peer->count == QUEUE) return ERR_MEM;
  // As a driver does: the stack keeps its own for retransmission.
  struct pbuf *copy = pbuf_clone(PBUF_RAW, PBUF_POOL, packet);
  if (copy == NULL) return ERR_MEM;
  peer->queue[(peer->head + peer->count++) % QUEUE] = copy;
  end->sent++;
  return ERR_OK;
}

static err_t start(struct netif *netif) {
  netif->name[0] = 'b';
  netif->name[1] = 'b';
  netif->mtu = 1500;
  netif->hwaddr_len = 6;
  netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
  netif->output = etharp_output;
  netif->linkoutput = transmit;
  return ERR_OK;
}

static void add(struct end *end, struct end *peer, uint8_t number) {
  ip4_addr_t address, mask, gateway;
  IP4_ADDR(&address, 10, 0, 0, number);
  IP4_ADDR(&mask, 255, 255, 255, 0);
  IP4_ADDR(&gateway, 0, 0, 0, 0);
  memcpy(end->netif.hwaddr, (uint8_t[]){2, 0, 0, 0, 0, number}, 6);
  end->peer = peer;
  if (netif_add(&end->netif, &address, &mask, &gateway, end, start, ethernet_input) == NULL)
    fail("no interface");
  netif_set_up(&end->netif);
}

static void receive(struct end *end) {
  for (unsigned taken = 0; taken < BURST && end->count > 0; taken++) {
    struct pbuf *packet = end->queue[end->head];
    end->head = (end->head + 1) % QUEUE;
    end->count--;
    if (end->netif.input(packet, &end->netif) != ERR_OK) pbuf_free(packet);
  }
}

// MARK: Server

static bool closes;
static uint8_t request[REQUEST], response[RESPONSE];

static err_t server_receives(void *argument, struct tcp_pcb *pcb, struct pbuf *data, err_t error) {
  (void)argument;
  (void)error;
  if (data == NULL) return tcp_close(pcb);
  // Requests are small and come whole.
  if (data->tot_len != REQUEST) fail("a request in pieces");
  tcp_recved(pcb, data->tot_len);
  pbuf_free(data);
  if (tcp_write(pcb, response, RESPONSE, TCP_WRITE_FLAG_COPY) != ERR_OK) fail("no room to answer");
  if (closes) {
    tcp_recv(pcb, NULL);
    return tcp_close(pcb);
  }
  return tcp_output(pcb);
}

static err_t server_accepts(void *argument, struct tcp_pcb *pcb, err_t error) {
  (void)argument;
  if (error != ERR_OK) fail("accept");
  tcp_nagle_disable(pcb);
  tcp_recv(pcb, server_receives);
  return ERR_OK;
}

static void listen_for_clients(void) {
  struct tcp_pcb *pcb = tcp_new();
  ip_addr_t any = IPADDR4_INIT(0);
  if (pcb == NULL || tcp_bind(pcb, &any, PORT) != ERR_OK) fail("bind");
  tcp_bind_netif(pcb, &server_end.netif);
  pcb = tcp_listen_with_backlog(pcb, 255);
  if (pcb == NULL) fail("listen");
  tcp_accept(pcb, server_accepts);
}

// MARK: Client

static unsigned long begun, finished, wanted;
// A response that has come in part.
static uint16_t received[CONCURRENCY];
static unsigned free_places[CONCURRENCY], free_count;

static err_t ask(struct tcp_pcb *pcb) {
  if (tcp_write(pcb, request, REQUEST, TCP_WRITE_FLAG_COPY) != ERR_OK) fail("no room to ask");
  return tcp_output(pcb);
}

static struct tcp_pcb *idle[CONCURRENCY];
static unsigned idle_count;

static err_t client_receives(void *argument, struct tcp_pcb *pcb, struct pbuf *data, err_t error) {
  (void)error;
  unsigned place = (unsigned)(uintptr_t)argument;
  if (data == NULL) {
    free_places[free_count++] = place;
    finished++;
    tcp_err(pcb, NULL);
    return tcp_close(pcb);
  }
  received[place] += data->tot_len;
  tcp_recved(pcb, data->tot_len);
  pbuf_free(data);
  if (received[place] < RESPONSE) return ERR_OK;
  received[place] = 0;
  if (closes) return ERR_OK;
  finished++;
  if (begun < wanted) {
    begun++;
    return ask(pcb);
  }
  idle[idle_count++] = pcb;
  return ERR_OK;
}

static err_t client_connected(void *argument, struct tcp_pcb *pcb, err_t error) {
  (void)argument;
  if (error != ERR_OK) fail("connect");
  return ask(pcb);
}

static void client_fails(void *argument, err_t error) {
  (void)argument;
  fprintf(stderr, "error %d\n", error);
  fail("a connection failed");
}

static void open_connection(void) {
  struct tcp_pcb *pcb = tcp_new();
  if (pcb == NULL) fail("no control block");
  unsigned place = free_places[--free_count];
  received[place] = 0;
  tcp_bind_netif(pcb, &client_end.netif);
  tcp_nagle_disable(pcb);
  tcp_arg(pcb, (void *)(uintptr_t)place);
  tcp_recv(pcb, client_receives);
  tcp_err(pcb, client_fails);
  if (tcp_connect(pcb, &server_end.netif.ip_addr, PORT, client_connected) != ERR_OK) fail("connect");
  begun++;
}

// MARK: Measurement

static void run(unsigned long count) {
  wanted = begun + count;
  unsigned long end = finished + count;
  while (idle_count > 0 && begun < wanted) {
    begun++;
    ask(idle[--idle_count]);
  }
  while (finished < end) {
    while (free_count > 0 && begun < wanted) open_connection();
    receive(&server_end);
    receive(&client_end);
  }
}

// Both segment lifetimes pass: 2 x 60 s, in ticks of 250 ms.
static void age(void) {
  // First what is under way: nobody may give up waiting for it.
  while (server_end.count > 0 || client_end.count > 0) {
    receive(&server_end);
    receive(&client_end);
  }
  for (int tick = 0; tick < 600; tick++) tcp_tmr();
}

static int compare(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

static void measure(unsigned long count) {
  double costs[SLICES];
  unsigned long slice = count / SLICES;
  uint64_t frames = client_end.sent + server_end.sent;
  for (int index = 0; index < SLICES; index++) {
    uint64_t before = __builtin_ia32_rdtsc();
    run(slice);
    costs[index] = (double)(__builtin_ia32_rdtsc() - before) / slice;
    if (closes) age();
  }
  frames = client_end.sent + server_end.sent - frames;
  qsort(costs, SLICES, sizeof costs[0], compare);
  printf("%s on lwIP, cycles of the time-stamp counter, median (least) of %d slices of %lu:\n",
         closes ? "short connection" : "request", SLICES, slice);
  printf("  both ends and programs %.0f (%.0f), %.2f frames\n", costs[SLICES / 2], costs[0],
         (double)frames / (slice * SLICES));
}

static sem_t ready;

static void initialized(void *argument) {
  (void)argument;
  sem_post(&ready);
}

int main(int count, char **words) {
  unsigned long operations = count == 3 ? strtoul(words[2], NULL, 10) : 0;
  if (operations < SLICES || (strcmp(words[1], "short") && strcmp(words[1], "keepalive"))) {
    fprintf(stderr, "usage: lwip-back-to-back short|keepalive COUNT\n");
    return 2;
  }
  closes = !strcmp(words[1], "short");
  sem_init(&ready, 0, 0);
  tcpip_init(initialized, NULL);
  sem_wait(&ready);
  // The stack's own thread waits from here on.
  LOCK_TCPIP_CORE();
  add(&client_end, &server_end, 1);
  add(&server_end, &client_end, 2);
  listen_for_clients();
  for (unsigned place = 0; place < CONCURRENCY; place++) free_places[free_count++] = place;
  // The first connection resolves the addresses: while that lasts, only some packets may wait.
  run(1);
  run(closes ? 2000 : 20000);
  if (closes) age();
  measure(operations);
  return 0;
}
