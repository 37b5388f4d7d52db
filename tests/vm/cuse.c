/* /dev/sev-guest as a CUSE program: the kernel brings each ioctl here, sev_guest_device.h answers it.
 *
 * It speaks the protocol of /dev/cuse itself, so that it needs no library. An ioctl of a guest device has pointers in
 * pointers; the kernel copies a caller's memory only when it is told where, so each request comes in four rounds:
 * nothing, the envelope, envelope and request, all four buffers. SIGUSR1 dooms the device: the next request fails as
 * one does that costs the guest its message key, and every later one gets ENOTTY until the guest boots again.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <sys/uio.h>

#include "../worlds/sev_guest_device.h"

#define NAME "DEVNAME=sev-guest"
#define ENVELOPE 32u
#define EXTENDED 0xC0205302u

static int cuse;
static volatile sig_atomic_t doomed;

static void doom(int number)
{
	(void)number;
	doomed = 1;
}

static void put64(uint8_t *at, uint64_t v) { memcpy(at, &v, 8); }

static void reply(uint64_t unique, int error, const void *head, size_t head_size, const void *tail, size_t tail_size)
{
	struct fuse_out_header out = { sizeof out + head_size + tail_size, error, unique };
	struct iovec parts[] = { { &out, sizeof out }, { (void *)head, head_size }, { (void *)tail, tail_size } };

	if (writev(cuse, parts, 3) < 0)
		perror("sev-guest: a reply"); /* the caller may be gone */
}

static void start(uint64_t unique)
{
	struct cuse_init_out out = { .major = FUSE_KERNEL_VERSION,
				     .minor = FUSE_KERNEL_MINOR_VERSION,
				     .flags = CUSE_UNRESTRICTED_IOCTL,
				     .max_read = PAGE,
				     .max_write = PAGE };

	reply(unique, 0, &out, sizeof out, NAME, sizeof NAME);
}

/* Where the caller's four buffers are, as far as `got` bytes of them tell; how many they are. */
static unsigned buffers(const struct fuse_ioctl_in *in, const uint8_t *data, struct fuse_ioctl_iovec *at)
{
	uint32_t request = in->cmd == EXTENDED ? 112 : in->cmd == 0xC0205301 ? 32 : 96;

	at[0] = (struct fuse_ioctl_iovec){ in->arg, ENVELOPE };
	if (in->in_size < ENVELOPE)
		return 1;
	at[1] = (struct fuse_ioctl_iovec){ get64(data + 8), request };
	if (in->in_size < ENVELOPE + request)
		return 2;
	at[2] = (struct fuse_ioctl_iovec){ get64(data + 16), in->cmd == 0xC0205301 ? 64 : 4000 };
	if (in->cmd != EXTENDED || !get32(data + ENVELOPE + 104))
		return 3;
	at[3] = (struct fuse_ioctl_iovec){ get64(data + ENVELOPE + 96), get32(data + ENVELOPE + 104) };
	require(at[3].len <= MAX_TABLE, "certs_len is at most 0x4000");
	return 4;
}

static void ask_again(uint64_t unique, const struct fuse_ioctl_iovec *at, unsigned count)
{
	struct fuse_ioctl_iovec both[8];
	unsigned out = count > 2 ? count : 0; /* the last round also says what it will write */
	struct fuse_ioctl_out head = { .flags = FUSE_IOCTL_RETRY, .in_iovs = count, .out_iovs = out };

	memcpy(both, at, count * sizeof *at);
	memcpy(both + count, at, out * sizeof *at);
	reply(unique, 0, &head, sizeof head, both, (count + out) * sizeof *at);
}

/* The request among our own copies of the caller's buffers: the same offsets within a page, and their pointers back. */
static void answer(uint64_t unique, const struct fuse_ioctl_in *in, uint8_t *data, const struct fuse_ioctl_iovec *at,
		   unsigned count)
{
	static uint8_t certs[PAGE + MAX_TABLE] __attribute__((aligned(4096)));
	struct fuse_ioctl_out head = { 0 };
	uint8_t *request = data + at[0].len, *response = request + at[1].len, *table = response + at[2].len;
	uint8_t *copy = count == 4 ? certs + at[3].base % PAGE : NULL;
	size_t size = at[0].len + at[1].len + at[2].len;

	put64(data + 8, (uintptr_t)request);
	put64(data + 16, (uintptr_t)response);
	if (copy) {
		size += at[3].len;
		memcpy(copy, table, at[3].len);
		put64(request + 96, (uintptr_t)copy);
	}
	if (device_request(in->cmd, data)) {
		head.result = -errno;
		size = at[0].len + at[1].len; /* the driver leaves the others alone */
	}
	put64(data + 8, at[1].base);
	put64(data + 16, at[2].base);
	if (copy) {
		put64(request + 96, at[3].base);
		memcpy(table, copy, at[3].len);
	}
	reply(unique, 0, &head, sizeof head, data, size);
}

static void serve_ioctl(uint64_t unique, const struct fuse_ioctl_in *in, uint8_t *data)
{
	struct fuse_ioctl_out unknown = { .result = -ENOTTY };
	struct fuse_ioctl_iovec at[4];
	unsigned count, i;
	size_t whole = 0;

	if (in->cmd < 0xC0205300 || in->cmd > EXTENDED) {
		reply(unique, 0, &unknown, sizeof unknown, NULL, 0);
		return;
	}
	count = buffers(in, data, at);
	for (i = 0; i < count; i++)
		whole += at[i].len;
	if (in->in_size < whole) {
		ask_again(unique, at, count);
		return;
	}
	require(in->in_size == whole, "the buffers stay as they are while the request is made");
	if (doomed)
		setenv("SEV_GUEST_SCRIPT", "dead", 1);
	answer(unique, in, data, at, count);
}

static void serve(uint8_t *message)
{
	const struct fuse_in_header *in = (void *)message;
	uint8_t *body = message + sizeof *in;
	struct fuse_open_out opened = { 0 };

	if (in->opcode == CUSE_INIT)
		start(in->unique);
	else if (in->opcode == FUSE_OPEN)
		reply(in->unique, 0, &opened, sizeof opened, NULL, 0);
	else if (in->opcode == FUSE_RELEASE)
		reply(in->unique, 0, NULL, 0, NULL, 0);
	else if (in->opcode == FUSE_IOCTL)
		serve_ioctl(in->unique, (void *)body, body + sizeof(struct fuse_ioctl_in));
	else if (in->opcode != FUSE_INTERRUPT) /* which wants no answer */
		reply(in->unique, -ENOSYS, NULL, 0, NULL, 0);
}

int main(void)
{
	static uint8_t message[64 << 10]; /* the largest request has 20.5 kB of buffers */
	struct sigaction action = { .sa_handler = doom };

	cuse = open("/dev/cuse", O_RDWR | O_CLOEXEC);
	if (cuse < 0 || sigaction(SIGUSR1, &action, NULL)) {
		perror("sev-guest: /dev/cuse");
		return 1;
	}
	for (;;) {
		ssize_t size = read(cuse, message, sizeof message);
		if (size >= (ssize_t)sizeof(struct fuse_in_header))
			serve(message);
		else if (size < 0 && errno != EINTR && errno != ENOENT) { /* ENOENT: the caller gave up */
			perror("sev-guest: /dev/cuse");
			return 1;
		}
	}
}
