// The log of one stream, bounded: a fault that flaps a hundred times a second must not fill a disk.
#pragma once

#include <cstddef>
#include <cstdint>

#include "physedge.h"

namespace physedge {

// A queue of fixed size; where it is full the oldest goes.
template <typename Item, std::size_t Capacity>
class Ring {
public:
    bool is_empty() const { return count_ == 0; }
    bool is_full() const { return count_ == Capacity; }
    std::size_t size() const { return count_; }
    // The place for a new last one.
    Item& push() {
        if (is_full()) pop();
        return items_[(first_ + count_++) % Capacity];
    }
    Item& front() { return items_[first_]; }
    const Item& operator[](std::size_t index) const { return items_[(first_ + index) % Capacity]; }
    void pop() {
        first_ = (first_ + 1) % Capacity;
        --count_;
    }

private:
    Item items_[Capacity];
    std::size_t first_ = 0, count_ = 0;
};

// At most 20 events of a kind in 10 seconds; how many were left out is said when the next one comes.
class EventLog {
public:
    // The line about the safe state always gets through.
    void say(std::int64_t at_ns, physedge_event_kind kind, const char* text);
    bool next(physedge_stream_event& event);

private:
    struct Window {
        bool is_open = false;
        std::int64_t start_ns = 0;
        std::uint32_t said = 0;
        std::uint64_t left_out = 0;
    };
    Window windows_[PHYSEDGE_EVENT_ENDED + 1];
    Ring<physedge_stream_event, 64> events_;

    void put(std::int64_t at_ns, physedge_event_kind kind, const char* text);
};

}  // namespace physedge
