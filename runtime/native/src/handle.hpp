// What a caller holds: a small shell that outlives its object, so that misuse ends in a status instead of anywhere.
//
// A handle that was freed, is of another kind, is in use elsewhere or came over a fork is told apart without touching
// the object. A shell stays where it is until 4,096 handles were freed after it: until then a second free does nothing.
#pragma once

#include <cstdint>
#include <memory>

#include "bundle.hpp"
#include "physedge.h"

struct physedge_net;
struct physedge_stream;

namespace physedge {

struct Shell;

enum class Kind : std::uint32_t { trust = 0x70680001, bundle, net, stream };
// Several calls at once may only read; one that changes something is alone.
enum class Use { shared, alone };
enum class Access { inside, missing, freed, other_kind, other_process, busy };

Shell* hand_out(Kind kind, void* object, void (*destroy)(void*));
Access enter(Shell* shell, Kind kind, Use use) noexcept;
void leave(Shell* shell) noexcept;
// The object goes at once, or with the call that is inside; of another process it stays. A second time does nothing.
void give_back(Shell* shell, Kind kind) noexcept;
void* object_of(Shell* shell) noexcept;
physedge_status refusal_of(Access access, physedge_error* error) noexcept;

template <typename Object>
constexpr Kind kind_of();
template <>
constexpr Kind kind_of<physedge_trust>() { return Kind::trust; }
template <>
constexpr Kind kind_of<physedge_bundle>() { return Kind::bundle; }
template <>
constexpr Kind kind_of<physedge_net>() { return Kind::net; }
template <>
constexpr Kind kind_of<physedge_stream>() { return Kind::stream; }

template <typename Object>
Shell* shell_of(const Object* handle) noexcept {
    return reinterpret_cast<Shell*>(const_cast<Object*>(handle));
}

// The handle of an object, which belongs to the handle from now on.
template <typename Object>
Object* handed_out(std::unique_ptr<Object> object) {
    Shell* shell = hand_out(kind_of<Object>(), object.get(), [](void* it) { delete static_cast<Object*>(it); });
    object.release();
    return reinterpret_cast<Object*>(shell);
}

template <typename Object>
void give_back(Object* handle) noexcept {
    give_back(shell_of(handle), kind_of<Object>());
}

// An object for the time of one call; false where the call must not touch it.
template <typename Object>
class Inside {
public:
    explicit Inside(const Object* handle, Use use = Use::shared) noexcept
        : shell_(shell_of(handle)), access_(enter(shell_, kind_of<Object>(), use)) {}
    ~Inside() {
        if (*this) leave(shell_);
    }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

    explicit operator bool() const noexcept { return access_ == Access::inside; }
    Object* operator->() const noexcept { return static_cast<Object*>(object_of(shell_)); }
    Object& operator*() const noexcept { return *operator->(); }
    physedge_status refusal(physedge_error* error) const noexcept { return refusal_of(access_, error); }

private:
    Shell* shell_;
    Access access_;
};

}  // namespace physedge
