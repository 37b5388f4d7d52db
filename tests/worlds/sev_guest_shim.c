/* A /dev/sev-guest for one process, by LD_PRELOAD: it catches open, stat and ioctl, and sev_guest_device.h answers.
 *
 * Where the script is open:N, opening fails with errno N.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "sev_guest_device.h"

#define DEVICE "/dev/sev-guest"
#define MAX_FD 1024

static char is_device[MAX_FD];

int ioctl(int fd, unsigned long code, ...)
{
	int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
	va_list rest;
	void *argument;

	va_start(rest, code);
	argument = va_arg(rest, void *);
	va_end(rest);
	if (fd >= 0 && fd < MAX_FD && is_device[fd])
		return device_request((unsigned)code, argument);
	return real(fd, code, argument);
}

static int open_device(void)
{
	int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
	const char *script = getenv("SEV_GUEST_SCRIPT");
	int fd;

	if (script && says(script, "open")) {
		errno = atoi(script + 5);
		return -1;
	}
	fd = real("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd >= MAX_FD)
		abort();
	if (fd >= 0)
		is_device[fd] = 1;
	return fd;
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
		int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);                                         \
		unsigned mode;                                                                                         \
		MODE(flags, mode);                                                                                     \
		return strcmp(path, DEVICE) ? real(path, flags, mode) : open_device();                                 \
	}

#define OPENAT(name)                                                                                                   \
	int name(int folder, const char *path, int flags, ...)                                                         \
	{                                                                                                              \
		int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, #name);                                    \
		unsigned mode;                                                                                         \
		MODE(flags, mode);                                                                                     \
		return strcmp(path, DEVICE) ? real(folder, path, flags, mode) : open_device();                         \
	}

#define OPEN_2(name)                                                                                                   \
	int name(const char *path, int flags)                                                                          \
	{                                                                                                              \
		int (*real)(const char *, int) = dlsym(RTLD_NEXT, #name);                                              \
		return strcmp(path, DEVICE) ? real(path, flags) : open_device();                                       \
	}

/* The device also exists for whoever only asks. */
#define STAT(name, type)                                                                                               \
	int name(const char *path, struct type *facts)                                                                 \
	{                                                                                                              \
		int (*real)(const char *, struct type *) = dlsym(RTLD_NEXT, #name);                                    \
		return real(strcmp(path, DEVICE) ? path : "/dev/null", facts);                                         \
	}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
OPEN_2(__open_2)
OPEN_2(__open64_2)
STAT(stat, stat)
STAT(stat64, stat64)

int close(int fd)
{
	int (*real)(int) = dlsym(RTLD_NEXT, "close");

	if (fd >= 0 && fd < MAX_FD)
		is_device[fd] = 0;
	return real(fd);
}
