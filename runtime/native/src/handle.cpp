#include "handle.hpp"

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <mutex>

#include "refusal.hpp"

namespace physedge {

namespace {

// The state of a shell: how many calls are inside, and two bits.
constexpr std::uint32_t closed = 1u << 31, alone = 1u << 30, most_inside = alone - 1;
constexpr std::size_t shells_kept = 4096;

}  // namespace

struct Shell {
    Kind kind;
    std::atomic<std::uint32_t> state;
    void* object;
    void (*destroy)(void*);
    pid_t process;
};

namespace {

std::mutex freed_mutex;
Shell* freed[shells_kept];  // a ring; the oldest goes when a new one comes
std::size_t next_freed = 0;

void retire(Shell* shell) noexcept {
    // The object of another process has threads that are not here: to end it would be to wait for them for ever.
    if (shell->process == getpid() || shell->kind != Kind::net) shell->destroy(shell->object);
    shell->object = nullptr;
    std::lock_guard<std::mutex> lock(freed_mutex);
    delete freed[next_freed];
    freed[next_freed] = shell;
    next_freed = (next_freed + 1) % shells_kept;
}

}  // namespace

Shell* hand_out(Kind kind, void* object, void (*destroy)(void*)) {
    return new Shell{kind, {0}, object, destroy, getpid()};
}

Access enter(Shell* shell, Kind kind, Use use) noexcept {
    if (shell == nullptr) return Access::missing;
    if (shell->kind != kind) return Access::other_kind;
    if (kind == Kind::net && shell->process != getpid()) return Access::other_process;
    std::uint32_t state = shell->state.load(std::memory_order_acquire);
    for (;;) {
        if (state & closed) return Access::freed;
        bool is_taken = use == Use::alone ? state != 0 : (state & alone) != 0 || state == most_inside;
        if (is_taken) return Access::busy;
        std::uint32_t entered = (state + 1) | (use == Use::alone ? alone : 0);
        if (shell->state.compare_exchange_weak(state, entered, std::memory_order_acq_rel)) return Access::inside;
    }
}

void leave(Shell* shell) noexcept {
    std::uint32_t state = shell->state.load(std::memory_order_acquire), left;
    do {
        left = (state & closed) | ((state & most_inside) - 1);
    } while (!shell->state.compare_exchange_weak(state, left, std::memory_order_acq_rel));
    if (left == closed) retire(shell);
}

void give_back(Shell* shell, Kind kind) noexcept {
    if (shell == nullptr || shell->kind != kind) return;
    std::uint32_t before = shell->state.fetch_or(closed, std::memory_order_acq_rel);
    if (before == 0) retire(shell);
}

void* object_of(Shell* shell) noexcept { return shell->object; }

physedge_status refusal_of(Access access, physedge_error* error) noexcept {
    switch (access) {
        case Access::inside: return PHYSEDGE_OK;
        case Access::missing:
            return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "NULL for an argument that is needed", "a value", "correct the call");
        case Access::freed:
            return report(error, PHYSEDGE_USAGE, "PE-NATIVE-008", "a handle that was freed", "a handle that is open", "correct the call");
        case Access::other_kind:
            return report(error, PHYSEDGE_USAGE, "PE-NATIVE-008", "a handle of another kind", "the kind that the function names",
                          "correct the call");
        case Access::other_process:
            return report(error, PHYSEDGE_USAGE, "PE-NATIVE-010", "a network that was opened before a fork",
                          "one that this process opened", "open the network after the fork");
        case Access::busy:
            return report(error, PHYSEDGE_USAGE, "PE-NATIVE-002", "another thread is using this handle", "one thread at a time",
                          "open one network for each thread, or take turns");
    }
    return PHYSEDGE_BUG;
}

}  // namespace physedge
