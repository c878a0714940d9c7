// Engines that were built or compiled on this device: DIGEST.engine, and DIGEST.json beside it with its key and its hash.
// The digest is that of the key; engine_cache.py keeps its engines in the same folder by the same rules.
//
// An engine is native code: whoever can write into the folder runs code here. So the folder and its files must belong to
// this user and be writable by nobody else, no link is followed, and the bytes must be those that were stored.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <optional>
#include <string>

namespace physedge {

// All that an engine depends on, by name: another value anywhere is another engine. Values are ASCII.
using PlanKey = std::map<std::string, std::string>;

// The name under which an engine is kept.
std::string plan_digest(const PlanKey& key);

// Throws Refusal (PE-TRT-010) where others could put code into the folder; nothing where there is no folder.
void require_private(const std::string& folder);

// Throws Refusal (PE-TRT-010): a file of the cache that is longer than it may be.
[[noreturn]] void refuse_too_large(const std::string& path, std::size_t most_bytes);

// A file of the folder itself that belongs to this user alone, no link; nothing where there is none.
template <typename Bytes>
std::optional<Bytes> read_private_file(const std::string& path, std::size_t most_bytes) {
    struct Descriptor {
        int number;
        ~Descriptor() {
            if (number >= 0) ::close(number);
        }
    } file{::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)};
    struct stat status {};
    if (file.number < 0 || ::fstat(file.number, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
    if (status.st_uid != ::geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) return std::nullopt;
    if (static_cast<std::size_t>(status.st_size) > most_bytes) refuse_too_large(path, most_bytes);
    Bytes data(static_cast<std::size_t>(status.st_size), '\0');
    std::size_t done = 0;
    while (done < data.size()) {
        ssize_t count = ::read(file.number, data.data() + done, data.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return std::nullopt;
        done += static_cast<std::size_t>(count);
    }
    return data;
}

// The engine of a key below `cache_folder`; nothing where there is none, or where it is not what was stored.
std::optional<std::string> load_engine(const std::string& cache_folder, const PlanKey& key);

// Keep an engine; it appears whole or not at all. Throws Refusal (PE-TRT-010).
void store_engine(const std::string& cache_folder, const PlanKey& key, const std::string& engine);

// The private folder of the engines below `cache_folder`; made where it is not there. Throws Refusal (PE-TRT-010).
std::string engine_folder(const std::string& cache_folder);

// What the processor is, as device.py says: what compiled code depends on.
std::string processor_name();
std::string instruction_sets();

}  // namespace physedge
