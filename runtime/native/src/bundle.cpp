#include "bundle.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "handle.hpp"
#include "hash.hpp"
#include "refusal.hpp"
#include "signature.hpp"

namespace physedge {

namespace {

[[noreturn]] void unreadable(const std::string& path, const std::string& why) {
    refuse(PHYSEDGE_USAGE, "PE-BUNDLE-001", "the bundle " + path + " cannot be read (" + why + ")",
           "a file NAME.physedge", "name the bundle that physedge export wrote");
}

class File {
public:
    // Without blocking: a pipe that nobody writes to must not hold us up before it is known to be one.
    explicit File(const std::string& path) : handle_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
    ~File() {
        if (handle_ >= 0) close(handle_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    int handle() const { return handle_; }

private:
    int handle_;
};

}  // namespace

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string read_bundle_file(const std::string& path) {
    File file(path);
    struct stat status{};
    if (file.handle() < 0 || fstat(file.handle(), &status) != 0) unreadable(path, std::strerror(errno));
    if (!S_ISREG(status.st_mode)) unreadable(path, "no plain file");
    auto size = static_cast<unsigned long long>(status.st_size);
    if (size > largest_bundle_bytes)
        refuse_bundle("PE-BUNDLE-003", file_name(path) + " has " + std::to_string(size) + " bytes",
                      "at most " + std::to_string(largest_bundle_bytes));
    // One byte more, so that a file that grows meanwhile shows.
    std::string data(static_cast<std::size_t>(size) + 1, '\0');
    std::size_t got = 0;
    while (got < data.size()) {
        ssize_t bytes = read(file.handle(), data.data() + got, data.size() - got);
        if (bytes < 0 && errno == EINTR) continue;
        if (bytes < 0) unreadable(path, std::strerror(errno));
        if (bytes == 0) break;
        got += static_cast<std::size_t>(bytes);
    }
    data.resize(got);
    return data;
}

void read_bundle(physedge_bundle& bundle, std::string_view data, std::string name, const TrustStore& trust) {
    bundle.name = std::move(name);
    bundle.contents = read_archive(data, bundle.name);
    auto manifest = bundle.contents.find(manifest_entry);
    if (manifest == bundle.contents.end())
        refuse_bundle("PE-BUNDLE-011", bundle.name + " has no " + manifest_entry, std::string("an entry ") + manifest_entry);
    bundle.root = trust.root;
    bundle.may_be_rejected = trust.root.empty() || trust.allowed.count("rejected") != 0;
    auto signature = bundle.contents.find(signature_entry);
    bundle.trust = check_signature(
        manifest->second,
        signature == bundle.contents.end() ? std::nullopt : std::optional<std::string_view>(signature->second), trust,
        bundle.name);
    bundle.manifest = parse_manifest(manifest->second, bundle.name);
    check_entries(bundle.manifest, bundle.contents, bundle.name);
    bundle.sha256 = sha256(data);
    bundle.manifest_sha256 = sha256(manifest->second);
}

}  // namespace physedge

using namespace physedge;

namespace {

void required(const void* argument, const char* name) {
    if (argument == nullptr)
        refuse(PHYSEDGE_USAGE, "PE-NATIVE-001", std::string("NULL for ") + name, "a value", "correct the call");
}

}  // namespace

extern "C" {

physedge_status physedge_trust_create(physedge_trust** trust, physedge_error* error) {
    return guarded(error, [&] {
        required(trust, "trust");
        *trust = handed_out(std::make_unique<physedge_trust>());
    });
}

physedge_status physedge_trust_add_key(physedge_trust* trust, const char* name, const uint8_t public_key[32],
                                       const char* not_after, physedge_error* error) {
    Inside<physedge_trust> inside(trust, Use::alone);
    if (!inside) return inside.refusal(error);
    return guarded(error, [&] {
        required(name, "name");
        required(public_key, "public_key");
        std::optional<Day> last_day;
        if (not_after != nullptr) last_day = parse_day(not_after);
        inside->store.add_key(name, std::string(reinterpret_cast<const char*>(public_key), 32), last_day);
    });
}

physedge_status physedge_trust_add_key_file(physedge_trust* trust, const char* path, const char* not_after,
                                            physedge_error* error) {
    Inside<physedge_trust> inside(trust, Use::alone);
    if (!inside) return inside.refusal(error);
    return guarded(error, [&] {
        required(path, "path");
        std::optional<Day> last_day;
        if (not_after != nullptr) last_day = parse_day(not_after);
        inside->store.add_key_file(path, last_day);
    });
}

physedge_status physedge_trust_add_revocations(physedge_trust* trust, const char* path, physedge_error* error) {
    Inside<physedge_trust> inside(trust, Use::alone);
    if (!inside) return inside.refusal(error);
    return guarded(error, [&] {
        required(path, "path");
        inside->store.add_revocations(path);
    });
}

physedge_status physedge_trust_add_device(physedge_trust* trust, const char* path, physedge_error* error) {
    Inside<physedge_trust> inside(trust, Use::alone);
    if (!inside) return inside.refusal(error);
    return guarded(error, [&] {
        required(path, "path");
        inside->store.add_device(path);
    });
}

physedge_status physedge_trust_set_today(physedge_trust* trust, const char* today, physedge_error* error) {
    Inside<physedge_trust> inside(trust, Use::alone);
    if (!inside) return inside.refusal(error);
    return guarded(error, [&] {
        required(today, "today");
        inside->store.today = parse_day(today);
    });
}

void physedge_trust_free(physedge_trust* trust) { give_back(trust); }

physedge_status physedge_bundle_read(const char* path, const physedge_trust* trust, physedge_bundle** bundle,
                                     physedge_error* error) {
    Inside<physedge_trust> believed(trust);
    if (trust != nullptr && !believed) return believed.refusal(error);
    return guarded(error, [&] {
        required(path, "path");
        required(bundle, "bundle");
        auto made = std::make_unique<physedge_bundle>();
        TrustStore store = trust != nullptr ? believed->store : device_trust();
        made->owned = read_bundle_file(path);
        read_bundle(*made, made->owned, file_name(path), store);
        *bundle = handed_out(std::move(made));
    });
}

physedge_status physedge_bundle_read_memory(const void* data, size_t data_bytes, const char* name,
                                            const physedge_trust* trust, physedge_bundle** bundle,
                                            physedge_error* error) {
    Inside<physedge_trust> believed(trust);
    if (trust != nullptr && !believed) return believed.refusal(error);
    return guarded(error, [&] {
        required(data, "data");
        required(name, "name");
        required(bundle, "bundle");
        auto made = std::make_unique<physedge_bundle>();
        TrustStore store = trust != nullptr ? believed->store : device_trust();
        read_bundle(*made, {static_cast<const char*>(data), data_bytes}, name, store);
        *bundle = handed_out(std::move(made));
    });
}

void physedge_bundle_describe(const physedge_bundle* bundle, physedge_bundle_info* info) {
    if (info == nullptr) return;
    *info = {"", "", "", "", "", "", "", "", 0};
    Inside<physedge_bundle> inside(bundle);
    if (!inside) return;
    const Manifest& manifest = inside->manifest;
    *info = {manifest.spec.name.c_str(), manifest.spec.version.c_str(), manifest.spec.task_name.c_str(),
             manifest.verdict.c_str(),   manifest.target.c_str(),       inside->trust.c_str(),
             inside->sha256.c_str(),     inside->manifest_sha256.c_str(), manifest.release};
}

physedge_status physedge_bundle_entry(const physedge_bundle* bundle, const char* name, const void** data,
                                      size_t* data_bytes, physedge_error* error) {
    Inside<physedge_bundle> inside(bundle);
    if (!inside) return inside.refusal(error);
    return guarded(error, [&] {
        required(name, "name");
        required(data, "data");
        required(data_bytes, "data_bytes");
        auto found = inside->contents.find(name);
        if (found == inside->contents.end())
            refuse(PHYSEDGE_USAGE, "PE-NATIVE-001", "no entry " + std::string(name), "an entry of the bundle",
                   "correct the call");
        *data = found->second.data();
        *data_bytes = found->second.size();
    });
}

void physedge_bundle_free(physedge_bundle* bundle) { give_back(bundle); }

}  // extern "C"
