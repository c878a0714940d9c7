// One block of memory for everything that frames need, taken once.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace physedge {

// Say what is wanted with `plan`, then `build`: every pointer is set, the memory is zero and aligned to 64 bytes.
class Arena {
public:
    template <typename Value>
    void plan(Value** pointer, std::size_t count) {
        wanted_.push_back({reinterpret_cast<void**>(pointer), bytes_});
        bytes_ += (count * sizeof(Value) + alignment - 1) / alignment * alignment;
    }
    void build() {
        block_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, bytes_ > 0 ? bytes_ : alignment)));
        if (!block_) throw std::bad_alloc();
        std::memset(block_.get(), 0, bytes_);
        for (const Wanted& one : wanted_) *one.pointer = block_.get() + one.offset;
        wanted_.clear();
    }
    std::size_t bytes() const { return bytes_; }

private:
    static constexpr std::size_t alignment = 64;
    struct Wanted {
        void** pointer;
        std::size_t offset;
    };
    struct Free {
        void operator()(std::byte* block) const { std::free(block); }
    };
    std::vector<Wanted> wanted_;
    std::size_t bytes_ = 0;
    std::unique_ptr<std::byte, Free> block_;
};

}  // namespace physedge
