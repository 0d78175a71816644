// Allocates with every form of C++ new and keeps its own books, as driver.c does. libstdc++ asks malloc for plain forms and
// aligned_alloc (posix_memalign from GCC 16 on) for aligned ones; the sizes of the latter are multiples of the alignment, for it rounds up to them.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <new>
#include <unistd.h>

namespace {
struct alignas(64) Aligned { char bytes[192]; };

int64_t plain_count, plain_bytes, aligned_count, aligned_bytes, plain_live_count, plain_live_bytes;
void *volatile sink;

void book_plain(std::size_t size, bool stays) {
    plain_count++;
    plain_bytes += static_cast<int64_t>(size);
    if (stays) {
        plain_live_count++;
        plain_live_bytes += static_cast<int64_t>(size);
    }
}

void run() {
    for (std::size_t size = 1; size < 400; size++) {
        void *block = ::operator new(size);
        sink = block;
        bool stays = size % 3 == 0;
        book_plain(size, stays);
        if (!stays) size % 2 ? ::operator delete(block) : ::operator delete(block, size);
    }
    for (std::size_t count = 1; count < 100; count++) {
        int64_t *numbers = new int64_t[count];
        sink = numbers;
        book_plain(count * sizeof *numbers, false);
        delete[] numbers;
        sink = ::operator new(count, std::nothrow);
        book_plain(count, true);
    }
    for (int i = 0; i < 10; i++) {
        sink = new Aligned;
        aligned_count++;
        aligned_bytes += sizeof(Aligned);
    }
    delete new Aligned;
    aligned_count++;
    aligned_bytes += sizeof(Aligned);
}
} // namespace

extern "C" void driver_run(int is_on, uint64_t) {
    if (is_on) run();
    char text[512];
    int64_t aligned_live_count = is_on ? aligned_count - 1 : 0;
    int length = std::snprintf(
        text, sizeof text,
        "{\"malloc\":{\"allocations\":%lld,\"allocated_bytes\":%lld,\"live_count\":%lld,\"live_bytes\":%lld},"
        "\"aligned_alloc or posix_memalign\":{\"allocations\":%lld,\"allocated_bytes\":%lld,\"live_count\":%lld,\"live_bytes\":%lld}}\n",
        (long long)plain_count, (long long)plain_bytes, (long long)plain_live_count, (long long)plain_live_bytes,
        (long long)aligned_count, (long long)aligned_bytes, (long long)aligned_live_count,
        (long long)(aligned_live_count * (int64_t)sizeof(Aligned)));
    if (write(1, text, static_cast<std::size_t>(length)) != length) __builtin_trap();
}
