/* Clients that cost next to nothing: each asks, reads its answer to the end, and asks again. One thread, epoll.
 *
 * load PORT CLIENTS WARM_MS RUN_MS EVENTS < REQUEST    REQUEST is sent as it stands; prints one line of JSON.
 * EVENTS above 0: an answer counts as whole only with that many events of a stream at least, and its [DONE].
 * After RUN_MS nothing new is asked, and what is on its way is waited for: `all` counts every answer, `whole` those of RUN_MS.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_HEAD = 16384, EVENTS_AT_ONCE = 256, BUFFER = 1 << 16, LINE = 15, LAST_MS = 30000 };
enum framing { HEAD, SIZED, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, UNTIL_CLOSE };

struct client {
  int fd, status, events, done, ended, kept, over;
  enum framing framing;
  size_t sent, head_length;
  long left;
  uint64_t began, first;
  char head[MOST_HEAD], line[LINE + 1];
};

struct series {
  uint32_t *values;
  size_t length, room;
};

static char request[1 << 20];
static size_t request_length;
static struct sockaddr_in address = {.sin_family = AF_INET};
static int poller, wanted_events;
static uint64_t measure_from, measure_to;
static struct series latency, first_byte;
static long all, whole, refused, broken, partial, running;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void note(struct series *series, uint64_t value) {
  if (series->length == series->room) {
    series->room = series->room ? series->room * 2 : 65536;
    series->values = realloc(series->values, series->room * sizeof *series->values);
  }
  series->values[series->length++] = (uint32_t)value;
}

static void dial(struct client *it) {
  int on = 1;
  it->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(it->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(it->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) exit(1);
  struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = it}};
  epoll_ctl(poller, EPOLL_CTL_ADD, it->fd, &event);
}

static void write_request(struct client *it) {
  while (it->sent < request_length) {
    ssize_t sent = send(it->fd, request + it->sent, request_length - it->sent, MSG_NOSIGNAL);
    if (sent <= 0) return; /* the socket says when more fits, or that it broke */
    it->sent += (size_t)sent;
  }
}

static void begin(struct client *it) {
  it->began = now();
  it->framing = HEAD;
  it->sent = it->head_length = 0;
  it->status = it->events = it->done = it->ended = it->kept = 0;
  it->first = 0;
  write_request(it);
}

static void again(struct client *it) {
  if (now() < measure_to) begin(it);
  else if (!it->over) it->over = 1, it->sent = request_length, running--;
}

static void count_answer(struct client *it) {
  uint64_t at = now();
  all++;
  if (at < measure_from || at > measure_to) return;
  if (it->status != 200) refused++;
  else if (wanted_events && (it->events < wanted_events || !it->done)) partial++;
  else {
    whole++;
    note(&latency, at - it->began);
    note(&first_byte, it->first - it->began);
  }
}

/* Events and the end mark, whatever pieces they come in: of each line its beginning is kept, the rest is skipped. */
static void look(struct client *it, const char *bytes, size_t length) {
  const char *end = bytes + length;
  while (bytes < end) {
    if (it->kept < LINE && *bytes != '\n') {
      it->line[it->kept++] = *bytes++;
      continue;
    }
    const char *stop = memchr(bytes, '\n', (size_t)(end - bytes));
    if (!stop) return;
    it->line[it->kept] = 0;
    if (!strncmp(it->line, "data:", 5)) it->events++;
    if (strstr(it->line, "[DONE]")) it->done = 1;
    it->kept = 0;
    bytes = stop + 1;
  }
}

static void read_head(struct client *it) {
  char *sized = strcasestr(it->head, "\r\ncontent-length:");
  it->status = atoi(it->head + 9);
  if (strcasestr(it->head, "\r\ntransfer-encoding: chunked")) it->framing = CHUNK_SIZE, it->left = 0;
  else if (sized) it->framing = SIZED, it->left = atol(sized + 17), it->ended = it->left == 0;
  else it->framing = UNTIL_CLOSE;
}

static size_t add_head(struct client *it, const char *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if (it->head_length + 1 >= MOST_HEAD) exit(3);
    it->head[it->head_length++] = bytes[i];
    if (bytes[i] == '\n' && it->head_length >= 4 && !memcmp(it->head + it->head_length - 4, "\r\n\r\n", 4)) {
      it->head[it->head_length] = 0;
      read_head(it);
      return i + 1;
    }
  }
  return length;
}

static int hex(char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  byte |= 32;
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static size_t add_body(struct client *it, const char *bytes, size_t length) {
  size_t part = it->left > 0 && (size_t)it->left < length ? (size_t)it->left : length;
  if (!it->first) it->first = now();
  if (it->framing == UNTIL_CLOSE) part = length;
  else it->left -= (long)part;
  if (wanted_events) look(it, bytes, part);
  if (it->framing == SIZED && !it->left) it->ended = 1;
  if (it->framing == CHUNK && !it->left) it->framing = CHUNK_END;
  return part;
}

static size_t add_framing(struct client *it, char byte) {
  if (it->framing == CHUNK_SIZE) {
    if (hex(byte) >= 0) it->left = it->left * 16 + hex(byte);
    if (byte == '\n') it->framing = it->left ? CHUNK : TRAILER;
  } else if (byte == '\n') {
    if (it->framing == TRAILER) it->ended = 1; /* trailers are not used by anybody here */
    it->framing = CHUNK_SIZE;
    it->left = 0;
  }
  return 1;
}

static void take(struct client *it, const char *bytes, size_t length) {
  while (length && !it->ended) {
    size_t used = it->framing == HEAD                                                              ? add_head(it, bytes, length)
                  : it->framing == CHUNK || it->framing == SIZED || it->framing == UNTIL_CLOSE ? add_body(it, bytes, length)
                                                                                                  : add_framing(it, *bytes);
    bytes += used;
    length -= used;
  }
  if (!it->ended) return;
  count_answer(it);
  again(it);
}

static void closed(struct client *it) {
  close(it->fd);
  if (it->framing == UNTIL_CLOSE) count_answer(it);
  else if (it->head_length) broken += now() >= measure_from && now() <= measure_to;
  else if (it->sent < request_length) usleep(2000); /* refused: it is not there yet, or has no place */
  dial(it);
  again(it);
}

static void readable(struct client *it) {
  static char buffer[BUFFER];
  for (;;) {
    ssize_t got = recv(it->fd, buffer, sizeof buffer, 0);
    if (got > 0) take(it, buffer, (size_t)got);
    else if (got < 0 && errno == EAGAIN) return;
    else {
      closed(it);
      return;
    }
  }
}

static int by_value(const void *one, const void *other) {
  uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
  return (a > b) - (a < b);
}

static void print_series(const char *name, struct series *series) {
  double total = 0;
  qsort(series->values, series->length, sizeof *series->values, by_value);
  for (size_t i = 0; i < series->length; i++) total += series->values[i];
  size_t n = series->length;
  printf(",\"%s\":{\"mean\":%.1f,\"p50\":%u,\"p99\":%u}", name, n ? total / (double)n : 0, n ? series->values[n / 2] : 0,
         n ? series->values[n * 99 / 100] : 0);
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  signal(SIGPIPE, SIG_IGN);
  address.sin_port = htons((uint16_t)atoi(argv[1]));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int clients = atoi(argv[2]);
  wanted_events = atoi(argv[5]);
  request_length = fread(request, 1, sizeof request, stdin);
  poller = epoll_create1(0);
  measure_from = now() + (uint64_t)atol(argv[3]) * 1000;
  measure_to = measure_from + (uint64_t)atol(argv[4]) * 1000;
  for (int i = 0; i < clients; i++) {
    struct client *it = calloc(1, sizeof *it);
    dial(it);
    begin(it);
  }
  running = clients;
  while (running && now() < measure_to + LAST_MS * 1000) {
    struct epoll_event events[EVENTS_AT_ONCE];
    int ready = epoll_wait(poller, events, EVENTS_AT_ONCE, 50);
    for (int i = 0; i < ready; i++) {
      struct client *it = events[i].data.ptr;
      if (it->sent < request_length) write_request(it);
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(it);
    }
  }
  double seconds = (double)(measure_to - measure_from) / 1e6;
  printf("{\"all\":%ld,\"whole\":%ld,\"refused\":%ld,\"broken\":%ld,\"partial\":%ld,\"rate\":%.1f", all, whole, refused, broken, partial,
         (double)whole / seconds);
  print_series("latency_us", &latency);
  print_series("first_byte_us", &first_byte);
  printf("}\n");
  return 0;
}
