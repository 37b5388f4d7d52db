/* Linux's side of the /dev/sev-guest ioctl, with offsets of its own. Whoever includes it brings the requests in.
 *
 * It reads the packed bytes at literal offsets (none of them comes from a struct), aborts with a sentence where a
 * request breaks the kernel's rules, and otherwise plays SEV_GUEST_SCRIPT: steps between commas, one per
 * request, the last one for ever:
 *   ok               what a healthy host does, which also refuses a buffer that its table does not fit
 *   too-small:N      EIO, host error 1, N bytes wanted       busy     EIO, host error 2
 *   timeout          ETIMEDOUT                               dead     EIO, firmware error, then ENOTTY for ever
 *   status:N         the firmware refuses with status N      size:N   the report says that it has N bytes
 *   blame            EIO, host error 1, and no size
 *   no-echo          another report_data in the report       zero-key the derived key is zero
 *   slow:N           ok after N milliseconds
 *   key-echo         the derived key shows its request
 * SEV_GUEST_SOCKET is the chip: 'R' and 64 bytes there; the table's length (4 bytes), a report and the table
 * back. Or 'K' and a key request there; a status (4 bytes) and a key back.
 * SEV_GUEST_LOG gets one line per request, one with its time (milliseconds), and one with the VMPL of each report.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define MAX_TABLE 0x4000u

static int dead, step;

static void require(int held, const char *rule)
{
	if (!held) {
		fprintf(stderr, "sev-guest: the request breaks a rule: %s\n", rule);
		abort();
	}
}

static uint32_t get32(const uint8_t *at) { uint32_t v; memcpy(&v, at, 4); return v; }
static uint64_t get64(const uint8_t *at) { uint64_t v; memcpy(&v, at, 8); return v; }
static void put32(uint8_t *at, uint32_t v) { memcpy(at, &v, 4); }
static uint8_t *pointer(const uint8_t *at) { return (uint8_t *)(uintptr_t)get64(at); }

static int is_zero(const uint8_t *at, size_t size)
{
	while (size--)
		if (*at++)
			return 0;
	return 1;
}

static void note(const char *words, unsigned number)
{
	const char *path = getenv("SEV_GUEST_LOG");
	FILE *log = path ? fopen(path, "a") : NULL;

	if (log) {
		fprintf(log, "%s %u\n", words, number);
		fclose(log);
	}
}

static unsigned milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

/* The step that is due, and its number. */
static const char *next_step(unsigned long *number)
{
	static char text[64];
	const char *at = getenv("SEV_GUEST_SCRIPT"), *end;
	int left;

	if (!at)
		at = "ok";
	for (left = step++; left > 0 && strchr(at, ','); left--)
		at = strchr(at, ',') + 1;
	end = strchrnul(at, ',');
	snprintf(text, sizeof text, "%.*s", (int)(end - at), at);
	*number = strchr(text, ':') ? strtoul(strchr(text, ':') + 1, NULL, 0) : 0;
	return text;
}

static int says(const char *text, const char *word)
{
	size_t size = strlen(word);
	return !strncmp(text, word, size) && (text[size] == 0 || text[size] == ':');
}

static void transfer(int fd, uint8_t *at, size_t size, int sending)
{
	while (size) {
		ssize_t done = sending ? write(fd, at, size) : read(fd, at, size);
		if (done <= 0) {
			fprintf(stderr, "sev-guest: the chip does not answer\n");
			abort();
		}
		at += done;
		size -= (size_t)done;
	}
}

static int connect_chip(char kind)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint8_t first = (uint8_t)kind;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv("SEV_GUEST_SOCKET"));
	if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
		perror("sev-guest: the chip's socket");
		abort();
	}
	transfer(fd, &first, 1, 1);
	return fd;
}

static uint32_t ask_chip(const uint8_t *report_data, uint8_t *report, uint8_t *table)
{
	uint8_t length[4], question[64];
	int fd = connect_chip('R');

	memcpy(question, report_data, 64);
	transfer(fd, question, 64, 1);
	transfer(fd, length, 4, 0);
	transfer(fd, report, 1184, 0);
	if (get32(length) > MAX_TABLE)
		abort();
	transfer(fd, table, get32(length), 0);
	close(fd);
	return get32(length);
}

static void ask_chip_key(const uint8_t *request, uint8_t *response)
{
	uint8_t question[32];
	int fd = connect_chip('K');

	memcpy(question, request, 32);
	transfer(fd, question, 32, 1);
	transfer(fd, response, 4, 0);
	transfer(fd, response + 32, 32, 0);
	close(fd);
}

static int refuse(uint8_t *envelope, int number, uint32_t firmware, uint32_t host)
{
	put32(envelope + 24, firmware);
	put32(envelope + 28, host);
	errno = number;
	return -1;
}

static int refuse_length(uint8_t *envelope, uint8_t *request, uint32_t wanted)
{
	put32(request + 104, wanted);
	return refuse(envelope, EIO, 0, 1);
}

static int derived_key(const uint8_t *request, uint8_t *response, const char *play, unsigned long number)
{
	int i;

	require(is_zero(request + 4, 4), "rsvd of a key request is zero");
	require(!(get64(request + 8) >> 6), "guest_field_select has six bits in message version 1");
	require(is_zero(response, 64), "the response buffer is zeroed");
	if (says(play, "status"))
		put32(response, (uint32_t)number);
	else if (says(play, "key-echo"))
		for (i = 0; i < 32; i++) /* shows every byte of the request to the test */
			response[32 + i] = request[i] ^ 0x5a;
	else if (!says(play, "zero-key"))
		ask_chip_key(request, response);
	return 0;
}

static int report(uint8_t *envelope, uint8_t *request, uint8_t *response, int extended, const char *play,
		  unsigned long number)
{
	static uint8_t table[MAX_TABLE];
	uint8_t *certs = extended ? pointer(request + 96) : NULL;
	uint32_t room = extended ? get32(request + 104) : 0, size;

	require(get32(request + 64) <= 3, "a VMPL is 0 to 3");
	require(is_zero(request + 68, 28), "rsvd of a report request is zero");
	require(is_zero(response, 4000), "the response buffer is zeroed");
	if (extended) {
		require(is_zero(request + 108, 4), "the end of an extended request is zero");
		require((uintptr_t)certs % PAGE == 0, "certs_address is page-aligned");
		require(room % PAGE == 0 && room <= MAX_TABLE, "certs_len is whole pages, at most 0x4000");
		require(is_zero(certs, room), "the buffer for certificates is zeroed");
	}
	if (says(play, "too-small"))
		return refuse_length(envelope, request, (uint32_t)number);
	if (says(play, "status")) {
		put32(response, (uint32_t)number);
		return 0;
	}
	size = ask_chip(request, response + 32, table);
	if (extended && size > room) {
		memset(response, 0, 4000);
		return refuse_length(envelope, request, (size + PAGE - 1) / PAGE * PAGE);
	}
	if (extended)
		memcpy(certs, table, size);
	note("vmpl", get32(request + 64));
	put32(response + 4, says(play, "size") ? (uint32_t)number : 1184);
	if (says(play, "no-echo"))
		response[32 + 0x50] ^= 1;
	return 0;
}

static int device_request(unsigned code, uint8_t *envelope)
{
	unsigned long number;
	const char *play;
	uint8_t *request, *response;

	note(code == 0xC0205300 ? "report" : code == 0xC0205301 ? "key" : code == 0xC0205302 ? "extended" : "unknown",
	     code == 0xC0205302 ? get32(pointer(envelope + 8) + 104) : 0);
	note("at", milliseconds());
	if (dead) {
		errno = ENOTTY;
		return -1;
	}
	require(code >= 0xC0205300 && code <= 0xC0205302, "the code is one of the three");
	require(envelope[0] == 1, "msg_version is 1");
	require(is_zero(envelope + 1, 7), "the padding of the envelope is zero");
	require(is_zero(envelope + 24, 8), "exitinfo2 is zero");
	request = pointer(envelope + 8);
	response = pointer(envelope + 16);
	require(request && response, "the pointers are set");
	play = next_step(&number);
	if (says(play, "slow"))
		usleep((useconds_t)number * 1000);
	if (says(play, "busy"))
		return refuse(envelope, EIO, 0, 2);
	if (says(play, "timeout"))
		return refuse(envelope, ETIMEDOUT, 0, 0);
	if (says(play, "blame"))
		return refuse(envelope, EIO, 0, 1);
	if (says(play, "dead")) {
		dead = 1;
		return refuse(envelope, EIO, 0x1d, 0);
	}
	if (code == 0xC0205301)
		return derived_key(request, response, play, number);
	return report(envelope, request, response, code == 0xC0205302, play, number);
}
