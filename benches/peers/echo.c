/* A bare UDP echo: datagrams in and out by recvmmsg and sendmmsg, one thread, nothing looked at. The most that any server of
 * one thread on this machine and loopback could do; benches/peers/run builds and measures it beside the others.
 *
 *     cc -O2 -o echo echo.c && ./echo 127.0.0.1 9000
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, OCTETS = 4096, BUFFER = 4 << 20 };

static char octets[BATCH][OCTETS];

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s ADDRESS PORT\n", argv[0]);
        return 2;
    }
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
    int size = BUFFER, fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || inet_pton(AF_INET, argv[1], &here.sin_addr) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0 || bind(fd, (struct sockaddr *)&here, sizeof here) != 0) {
        perror("echo");
        return 1;
    }
    static struct sockaddr_in peers[BATCH];
    static struct iovec places[BATCH];
    static struct mmsghdr messages[BATCH];
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            places[i] = (struct iovec){octets[i], OCTETS};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &places[i], .msg_iovlen = 1};
        }
        int got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            perror("recvmmsg");
            return 1;
        }
        for (int i = 0; i < got; i++) places[i].iov_len = messages[i].msg_len;
        for (int sent = 0; sent < got;) {
            int now = sendmmsg(fd, messages + sent, (unsigned)(got - sent), 0);
            /* What cannot be sent is lost like any datagram. */
            sent += now > 0 ? now : 1;
        }
    }
}
