/* A /sys/kernel/config/tsm/report for one process, by LD_PRELOAD: system calls on it go to a kernel of the tests.
 *
 * That kernel (configfs_tsm.py) listens on the socket TSM_SHIM_SOCKET. One connection is one call: a verb, a number
 * (flags of an open, else the file's handle), a size and as many bytes (a path below the tree, or what is written);
 * back come an errno or 0, a number (a handle, or how much was taken), a size and as many bytes.
 * What only looks (stat, opendir) sees TSM_SHIM_FOLDER, a real folder that the kernel keeps in step.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define TREE "/sys/kernel/config/tsm/report"
#define MAX_FD 1024
#define REAL(type, name, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

static uint32_t handles[MAX_FD]; /* 0 is no file of the tree */

/* The part of a path below the tree, or NULL. */
static const char *below(const char *path)
{
	size_t size = strlen(TREE);

	if (!path || strncmp(path, TREE, size) || (path[size] && path[size] != '/'))
		return NULL;
	return path[size] ? path + size + 1 : "";
}

static void transfer(int fd, void *bytes, size_t size, int sending)
{
	uint8_t *at = bytes;

	while (size) {
		ssize_t done = sending ? send(fd, at, size, MSG_NOSIGNAL) : recv(fd, at, size, 0);
		if (done <= 0) {
			fprintf(stderr, "configfs-tsm shim: the tests' kernel does not answer\n");
			abort();
		}
		at += done;
		size -= (size_t)done;
	}
}

/* One call. The answer's number, or -1 and errno; its bytes go to `out`, at most `room` of them. */
static ssize_t ask(char verb, uint32_t number, const void *bytes, size_t size, void *out, size_t room)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint32_t head[3] = { (uint32_t)verb, number, (uint32_t)size };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv("TSM_SHIM_SOCKET"));
	if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
		perror("configfs-tsm shim: the socket of the tests' kernel");
		abort();
	}
	transfer(fd, head, sizeof head, 1);
	transfer(fd, (void *)bytes, size, 1);
	transfer(fd, head, sizeof head, 0);
	if (head[2] > room)
		abort();
	transfer(fd, out, head[2], 0);
	REAL(int, close, int)(fd);
	errno = (int)head[0];
	return head[0] ? -1 : (ssize_t)head[1];
}

static int ask_path(char verb, uint32_t number, const char *name)
{
	return (int)ask(verb, number, name, strlen(name), NULL, 0);
}

int mkdir(const char *path, mode_t mode)
{
	const char *name = below(path);
	return name ? ask_path('m', 0, name) : REAL(int, mkdir, const char *, mode_t)(path, mode);
}

int rmdir(const char *path)
{
	const char *name = below(path);
	return name ? ask_path('d', 0, name) : REAL(int, rmdir, const char *)(path);
}

static int open_attribute(const char *name, int flags)
{
	int handle = ask_path('o', (uint32_t)flags, name), fd;

	if (handle < 0)
		return -1;
	fd = REAL(int, open, const char *, int, ...)("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0 || fd >= MAX_FD)
		abort();
	handles[fd] = (uint32_t)handle;
	return fd;
}

static uint32_t handle_of(int fd) { return fd >= 0 && fd < MAX_FD ? handles[fd] : 0; }

ssize_t read(int fd, void *at, size_t size)
{
	uint32_t handle = handle_of(fd), wanted = size > 0x100000 ? 0x100000 : (uint32_t)size;
	return handle ? ask('r', handle, &wanted, 4, at, size) : REAL(ssize_t, read, int, void *, size_t)(fd, at, size);
}

ssize_t write(int fd, const void *at, size_t size)
{
	uint32_t handle = handle_of(fd);
	return handle ? ask('w', handle, at, size, NULL, 0)
		      : REAL(ssize_t, write, int, const void *, size_t)(fd, at, size);
}

int close(int fd)
{
	uint32_t handle = handle_of(fd);

	if (handle) {
		handles[fd] = 0;
		ask('c', handle, NULL, 0, NULL, 0);
	}
	return REAL(int, close, int)(fd);
}

#define MODE(flags, mode)                                                                                              \
	do {                                                                                                           \
		va_list rest;                                                                                          \
		va_start(rest, flags);                                                                                 \
		mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(rest, unsigned) : 0;                                   \
		va_end(rest);                                                                                          \
	} while (0)

#define OPEN(name)                                                                                                     \
	int name(const char *path, int flags, ...)                                                                     \
	{                                                                                                              \
		unsigned mode;                                                                                         \
		MODE(flags, mode);                                                                                     \
		if (below(path))                                                                                       \
			return open_attribute(below(path), flags);                                                     \
		return REAL(int, name, const char *, int, ...)(path, flags, mode);                                     \
	}

#define OPENAT(name)                                                                                                   \
	int name(int folder, const char *path, int flags, ...)                                                         \
	{                                                                                                              \
		unsigned mode;                                                                                         \
		MODE(flags, mode);                                                                                     \
		if (below(path))                                                                                       \
			return open_attribute(below(path), flags);                                                     \
		return REAL(int, name, int, const char *, int, ...)(folder, path, flags, mode);                        \
	}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* Where the look of a path is kept. */
static const char *mirrored(const char *path)
{
	static __thread char place[4096];
	const char *name = below(path);

	if (!name)
		return path;
	snprintf(place, sizeof place, "%s/%s", getenv("TSM_SHIM_FOLDER"), name);
	return place;
}

DIR *opendir(const char *path) { return REAL(DIR *, opendir, const char *)(mirrored(path)); }

#define STAT(name, type)                                                                                               \
	int name(const char *path, struct type *facts)                                                                 \
	{                                                                                                              \
		return REAL(int, name, const char *, struct type *)(mirrored(path), facts);                            \
	}

STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)
