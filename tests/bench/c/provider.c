/* A provider that costs next to nothing: OpenAI chat over HTTP/1.1, one thread, epoll.
 *
 * provider DELAY_US:CHUNKS:GAP_US ...   one listener on a free port of 127.0.0.1 for each argument; the ports are printed.
 * A buffered answer comes after DELAY_US. A stream has CHUNKS events, GAP_US apart, each a send of its own.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LISTENERS = 8, MOST_IN = 1 << 21, EVENTS = 256 };
enum doing { READING, DELAYED, STREAMING };

struct connection {
  int fd, chunk;
  enum doing doing;
  int wants_stream, wants_usage, gone;
  char *in;
  size_t length, room;
  uint64_t due;
  struct listener *from;
  struct connection *next;
};

/* Waits of one listener are all equally long, so who came first is due first: a queue is enough. */
struct queue {
  struct connection *first, *last;
};

struct listener {
  int fd;
  long delay, chunks, gap;
  struct queue delayed, streaming;
};

static struct listener listeners[LISTENERS];
static int count, poller;
static char whole[4096];
static int whole_length;

#define EVENT_HEAD \
  "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\"model\":\"bench-model\","
static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void push(struct queue *queue, struct connection *it, uint64_t due) {
  it->due = due;
  it->next = NULL;
  if (queue->last) queue->last->next = it;
  else queue->first = it;
  queue->last = it;
}

static struct connection *pop_due(struct queue *queue, uint64_t at) {
  struct connection *it = queue->first;
  if (!it || it->due > at) return NULL;
  queue->first = it->next;
  if (!queue->first) queue->last = NULL;
  return it;
}

static void forget(struct connection *it) {
  if (it->fd >= 0) close(it->fd);
  it->fd = -1;
  it->gone = 1;
  if (it->doing != READING) return; /* a queue still holds it */
  free(it->in);
  free(it);
}

/* A reader that is so slow that its buffers are full holds up everybody: it is not what is measured here. */
static int put(struct connection *it, const char *bytes, size_t length) {
  while (length) {
    ssize_t sent = send(it->fd, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) {
      struct pollfd wait = {it->fd, POLLOUT, 0};
      if (poll(&wait, 1, 5000) < 1) return -1;
      continue;
    }
    if (sent < 0) return -1;
    bytes += sent;
    length -= (size_t)sent;
  }
  return 0;
}

static int put_event(struct connection *it, const char *rest) {
  char event[1024], framed[1100];
  int length = snprintf(event, sizeof event, "%s\n\n", rest);
  int size = snprintf(framed, sizeof framed, "%x\r\n%s\r\n", length, event);
  return put(it, framed, (size_t)size);
}

static int put_chunk(struct connection *it) {
  char text[512];
  snprintf(text, sizeof text,
           EVENT_HEAD "\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\" word%d\"},\"logprobs\":null,\"finish_reason\":null}]}",
           it->chunk ? "" : "\"role\":\"assistant\",", it->chunk);
  it->chunk++;
  return put_event(it, text);
}

static int put_end(struct connection *it) {
  char usage[512];
  if (put_event(it, EVENT_HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}")) return -1;
  snprintf(usage, sizeof usage,
           EVENT_HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":%ld,\"total_tokens\":%ld}}",
           it->from->chunks, it->from->chunks + 19);
  if (it->wants_usage && put_event(it, usage)) return -1;
  if (put_event(it, "data: [DONE]") || put(it, "0\r\n\r\n", 5)) return -1;
  it->doing = READING;
  return 0;
}

/* One step of a stream: all of it where no time lies between its events. */
static int step(struct connection *it, uint64_t at) {
  struct listener *from = it->from;
  do {
    if (it->chunk == from->chunks) return put_end(it);
    if (put_chunk(it)) return -1;
  } while (!from->gap);
  push(&from->streaming, it, at + (uint64_t)from->gap);
  return 0;
}

static int answer(struct connection *it, uint64_t at) {
  if (!it->wants_stream) {
    it->doing = READING;
    return put(it, whole, (size_t)whole_length);
  }
  it->doing = STREAMING;
  it->chunk = 0;
  return put(it, STREAM_HEAD, sizeof STREAM_HEAD - 1) || step(it, at) ? -1 : 0;
}

/* The length of the request that has arrived whole, 0 while it has not. */
static size_t request_length(struct connection *it) {
  it->in[it->length] = 0;
  char *end = strstr(it->in, "\r\n\r\n");
  if (!end) return 0;
  size_t head = (size_t)(end - it->in) + 4;
  *end = 0;
  char *sized = strcasestr(it->in, "\r\ncontent-length:");
  char *chunked = strcasestr(it->in, "\r\ntransfer-encoding: chunked");
  size_t body = sized ? (size_t)atol(sized + 17) : 0;
  *end = '\r';
  if (chunked) {
    char *last = strstr(end + 4, "0\r\n\r\n");
    return last ? (size_t)(last - it->in) + 5 : 0;
  }
  return it->length >= head + body ? head + body : 0;
}

static int asks(const char *body, const char *member, const char *value) {
  const char *found = strstr(body, member);
  if (!found) return 0;
  found += strlen(member);
  while (*found == ' ' || *found == ':') found++;
  return !strncmp(found, value, strlen(value));
}

static int serve(struct connection *it) {
  size_t length;
  while (it->doing == READING && (length = request_length(it))) {
    char after = it->in[length];
    it->in[length] = 0;
    it->wants_stream = asks(it->in, "\"stream\"", "true");
    it->wants_usage = asks(it->in, "\"include_usage\"", "true");
    it->in[length] = after;
    it->length -= length;
    memmove(it->in, it->in + length, it->length);
    uint64_t at = now();
    if (it->from->delay) {
      it->doing = DELAYED;
      push(&it->from->delayed, it, at + (uint64_t)it->from->delay);
    } else if (answer(it, at)) {
      return -1;
    }
  }
  return 0;
}

static int take(struct connection *it) {
  for (;;) {
    if (it->length == it->room) {
      if (it->room >= MOST_IN) return -1;
      it->room *= 2;
      it->in = realloc(it->in, it->room + 1);
    }
    ssize_t got = recv(it->fd, it->in + it->length, it->room - it->length, 0);
    if (got == 0) return -1;
    if (got < 0) return errno == EAGAIN ? serve(it) : -1;
    it->length += (size_t)got;
  }
}

static void accept_all(struct listener *from) {
  int fd, on = 1;
  while ((fd = accept4(from->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *it = calloc(1, sizeof *it);
    it->fd = fd;
    it->from = from;
    it->room = 8192;
    it->in = malloc(it->room + 1);
    struct epoll_event event = {EPOLLIN | EPOLLRDHUP, {.ptr = it}};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  }
}

static void wake(struct queue *queue, int (*next)(struct connection *, uint64_t), uint64_t at) {
  struct connection *it;
  while ((it = pop_due(queue, at))) {
    if (it->gone) {
      it->doing = READING;
      forget(it);
    } else if (next(it, at) || (it->doing == READING && serve(it))) {
      it->doing = READING;
      forget(it);
    }
  }
}

static void listen_on(const char *words) {
  struct listener *it = &listeners[count++];
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (sscanf(words, "%ld:%ld:%ld", &it->delay, &it->chunks, &it->gap) != 3) exit(2);
  it->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (bind(it->fd, (struct sockaddr *)&address, sizeof address) || listen(it->fd, 4096)) exit(1);
  getsockname(it->fd, (struct sockaddr *)&address, &size);
  struct epoll_event event = {EPOLLIN, {.ptr = it}};
  epoll_ctl(poller, EPOLL_CTL_ADD, it->fd, &event);
  printf("%d\n", ntohs(address.sin_port));
}

static uint64_t next_due(void) {
  uint64_t due = UINT64_MAX;
  for (int i = 0; i < count; i++) {
    struct connection *delayed = listeners[i].delayed.first, *streaming = listeners[i].streaming.first;
    if (delayed && delayed->due < due) due = delayed->due;
    if (streaming && streaming->due < due) due = streaming->due;
  }
  return due;
}

int main(int argc, char **argv) {
  char words[1024] = "", body[2048];
  signal(SIGPIPE, SIG_IGN);
  poller = epoll_create1(0);
  for (int i = 0; i < 70; i++) strcat(words, "some words. ");
  int length = snprintf(body, sizeof body,
                        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1767225600,\"model\":\"bench-model\","
                        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\",\"refusal\":null},"
                        "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":140,"
                        "\"total_tokens\":159,\"prompt_tokens_details\":{\"cached_tokens\":0}}}",
                        words);
  whole_length = snprintf(whole, sizeof whole,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", length, body);
  for (int i = 1; i < argc && i <= LISTENERS; i++) listen_on(argv[i]);
  fflush(stdout);
  for (;;) {
    struct epoll_event events[EVENTS];
    uint64_t due = next_due(), at = now();
    uint64_t left = due == UINT64_MAX ? 1000000 : due > at ? due - at : 0;
    struct timespec wait = {(time_t)(left / 1000000), (long)(left % 1000000) * 1000};
    int ready = epoll_pwait2(poller, events, EVENTS, &wait, NULL);
    for (int i = 0; i < ready; i++) {
      void *what = events[i].data.ptr;
      if (what >= (void *)listeners && what < (void *)(listeners + LISTENERS)) accept_all(what);
      else if (take(what)) forget(what);
    }
    at = now();
    for (int i = 0; i < count; i++) {
      wake(&listeners[i].delayed, answer, at);
      wake(&listeners[i].streaming, step, at);
    }
  }
}
