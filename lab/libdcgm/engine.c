/* Engines: one within this process, or one at the other end of a connection. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "library.h"

enum { EMBEDDED = 1, REMOTE = 2, PATIENCE_MS = 5000 };

struct machine here;
pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static int starts, embedded, connection = -1;

void guard_leave(pthread_mutex_t **held) { pthread_mutex_unlock(*held); }

API int dcgmInit(void) {
    starts++;
    return OK;
}

API int dcgmShutdown(void) {
    starts = 0;
    return OK;
}

static int begin(handle engine, handle *into) {
    watches_clear();
    machine_read(&here);
    *into = engine;
    return OK;
}

API int dcgmStartEmbedded(int mode, handle *into) {
    (void)mode;
    if (!starts) return UNINITIALIZED;
    embedded = 1;
    return begin(EMBEDDED, into);
}

API int dcgmStopEmbedded(handle engine) {
    embedded = 0;
    return engine == EMBEDDED ? OK : BAD_PARAM;
}

static int is_connected(int fd, unsigned int patience) {
    struct pollfd ready = {fd, POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof error;
    return poll(&ready, 1, (int)patience) == 1 && !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) && !error;
}

/* A connection, or -1. */
static int dial(int family, const struct sockaddr *address, socklen_t size, unsigned int patience) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (!connect(fd, address, size) || (errno == EINPROGRESS && is_connected(fd, patience))) return fd;
    close(fd);
    return -1;
}

static int dial_unix(const char *path, unsigned int patience) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return dial(AF_UNIX, (struct sockaddr *)&address, sizeof address, patience);
}

/* Parts host, host:port or [host]:port; what has several colons and no brackets is a host. */
static void part_address(char *text, const char **host, const char **port) {
    char *colon = strrchr(text, ':'), *bracket = strchr(text, ']');
    *host = text[0] == '[' ? text + 1 : text;
    *port = "5555";
    if (colon && (bracket ? colon > bracket : colon == strchr(text, ':'))) {
        *port = colon + 1;
        *colon = 0;
    }
    if (bracket) *bracket = 0;
}

static int dial_tcp(const char *address, unsigned int patience) {
    char text[TEXT];
    const char *host, *port;
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found;
    int fd = -1;
    snprintf(text, sizeof text, "%s", address);
    part_address(text, &host, &port);
    if (getaddrinfo(host, port, &wanted, &found)) return -1;
    for (struct addrinfo *one = found; one && fd < 0; one = one->ai_next)
        fd = dial(one->ai_family, one->ai_addr, one->ai_addrlen, patience);
    freeaddrinfo(found);
    return fd;
}

static void hang_up(void) {
    if (connection >= 0) close(connection);
    connection = -1;
}

static int attach(int fd, handle *into) {
    if (fd < 0) return CONNECTION_NOT_VALID;
    hang_up();
    connection = fd;
    return begin(REMOTE, into);
}

API int dcgmConnect_v2(const char *address, struct connect_v2 *how, handle *into) {
    if (!starts) return UNINITIALIZED;
    if (!address || !how || !into) return BAD_PARAM;
    NEED_VERSION(how, 2);
    unsigned int patience = how->timeout_ms ? how->timeout_ms : PATIENCE_MS;
    return attach(how->is_unix ? dial_unix(address, patience) : dial_tcp(address, patience), into);
}

API int dcgmConnect_v3(const char *address, struct connect_v3 *how, handle *into) {
    if (!starts) return UNINITIALIZED;
    if (!address || !how || !into) return BAD_PARAM;
    NEED_VERSION(how, 1);
    unsigned int patience = how->timeout_ms ? how->timeout_ms : PATIENCE_MS;
    if (!strncasecmp(address, "unix://", 7)) return attach(dial_unix(address + 7, patience), into);
    return strncasecmp(address, "tcp://", 6) ? NOT_SUPPORTED : attach(dial_tcp(address + 6, patience), into);
}

API int dcgmDisconnect(handle engine) {
    hang_up();
    return engine == REMOTE ? OK : BAD_PARAM;
}

/* An engine that is gone is gone for ever, as with the true library: another one on the same port does not help. */
int engine_check(handle engine) {
    char byte;
    if (engine == EMBEDDED) return embedded ? OK : UNINITIALIZED;
    if (engine != REMOTE || connection < 0) return CONNECTION_NOT_VALID;
    ssize_t got = recv(connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))) return OK;
    hang_up();
    return CONNECTION_NOT_VALID;
}

/* Nothing is said over the connection, so both ends are this library of this machine. */
API int dcgmVersionInfo(struct version_v2 *into) {
    struct machine machine;
    NEED_VERSION(into, 2);
    machine_read(&machine);
    snprintf(into->text, sizeof into->text, "version:%s;arch:x86_64;buildtype:lab", machine.version);
    return OK;
}

API int dcgmHostengineVersionInfo(handle engine, struct version_v2 *into) {
    ENTER(engine);
    return dcgmVersionInfo(into);
}

API const char *errorString(int result) {
    switch (result) {
    case OK: return "Success";
    case BAD_PARAM: return "Bad parameter passed to function";
    case NOT_CONFIGURED: return "Setting not configured";
    case NOT_SUPPORTED: return "Feature not supported";
    case UNINITIALIZED: return "DCGM has not been initialized";
    case VERSION_MISMATCH: return "API version mismatch";
    case UNKNOWN_FIELD: return "Unknown field identifier";
    case NO_SUCH_DATA: return "No data is available";
    case NOT_WATCHED: return "Field is not being watched";
    case CONNECTION_NOT_VALID: return "Host engine connection invalid/disconnected";
    case MAX_LIMIT: return "Max limit reached for the object";
    case INSUFFICIENT_SIZE: return "Output buffer is too small";
    case MODULE_NOT_LOADED: return "The module of DCGM that serves this request is not loaded";
    case PROFILING_NOT_SUPPORTED: return "Profiling is not supported for this group of GPUs or GPU";
    }
    return "Unspecified error";
}
