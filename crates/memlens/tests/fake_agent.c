/* An agent that only says hello: as a process of the kind that FAKE_PYTHON_KIND and FAKE_PYTHON_VERSION name (without
 * them: a supported CPython 3.12.1). What it is told, and the collector's process, go to the file FAKE_AGENT_LOG. With FAKE_END it never
 * begins to record: the process ends there and then ("killed"), or runs on without tables ("failed"). */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAGIC "MLENSSHM"

struct hello { char magic[8]; uint32_t version, pid, parent_pid, python_version, python_kind, reserved; };
struct welcome { char magic[8]; uint32_t accept, reserved; uint64_t file_bytes; };
/* The start of the shared header. */
struct header { char magic[8]; uint32_t version, status, is_table_full, python_version, collector_pid, python_hooked; };

static uint32_t number(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 0) : otherwise;
}

static int reach_collector(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path + 1, name, strlen(name));
    if (connect(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)) != 0)
        return -1;
    return fd;
}

static int receive_welcome(int fd, struct welcome *welcome)
{
    char space[CMSG_SPACE(sizeof(int))];
    struct iovec part = {welcome, sizeof *welcome};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    int file = -1;
    if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) != sizeof *welcome)
        return -1;
    if (CMSG_FIRSTHDR(&message))
        memcpy(&file, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof file);
    return file;
}

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("MEMLENS_COLLECTOR"), *log = getenv("FAKE_AGENT_LOG");
    int fd = name ? reach_collector(name) : -1;
    struct welcome welcome = {0};
    if (fd < 0)
        return;
    struct hello hello = {MAGIC, SHARED_VERSION, getpid(), getppid(), number("FAKE_PYTHON_VERSION", 0x030c01f0), number("FAKE_PYTHON_KIND", 1), 0};
    send(fd, &hello, sizeof hello, 0);
    int file = receive_welcome(fd, &welcome);
    close(fd);
    struct header *header = NULL;
    if (file >= 0) {
        header = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        const char *end = getenv("FAKE_END");
        if (end && strcmp(end, "killed") == 0)
            _exit(0);
        if (end) {
            header->status = 2;
            return;
        }
        header->version = SHARED_VERSION;
        header->status = 1;
        header->python_version = hello.python_version;
        header->python_hooked = 1;
        memcpy(header->magic, MAGIC, 8);
        close(file);
    }
    FILE *out = log ? fopen(log, "a") : NULL;
    if (out) {
        fprintf(out, "accept %u collector %u\n", welcome.accept, header ? header->collector_pid : 0);
        fclose(out);
    }
}
