#include "engines/engine_store.hpp"

#include <sys/file.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include "hash.hpp"
#include "json.hpp"
#include "refusal.hpp"

namespace physedge {

namespace {

constexpr std::size_t largest_engine_bytes = std::size_t{4} << 30, largest_record_bytes = 1 << 20, digest_characters = 32;
constexpr std::size_t most_engines = 32;  // the ones used longest ago go first
// Instruction sets that change INT8 results or speed; device.py has the same.
constexpr const char* relevant_flags[] = {"avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"};

[[noreturn]] void cannot(const std::string& path, const char* what) {
    refuse(PHYSEDGE_ENVIRONMENT, "PE-TRT-010", path + " cannot be " + what + " (" + std::strerror(errno) + ")",
           "a folder that this user may write", "name another cache_folder");
}

// Keeps another process from exchanging an engine between its record and its bytes; the folder is the lock.
class Locked {
public:
    Locked(const std::string& folder, int kind) : handle_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) {
        if (handle_ < 0 || ::flock(handle_, kind) != 0) cannot(folder, "locked");
    }
    ~Locked() {
        if (handle_ >= 0) ::close(handle_);
    }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;

private:
    int handle_;
};

void write_whole(const std::string& folder, const std::string& path, std::string_view data) {
    std::string temporary = folder + "/.part.XXXXXX";
    int handle = ::mkostemp(temporary.data(), O_CLOEXEC);
    if (handle < 0) cannot(folder, "written to");
    bool is_written = true;
    while (is_written && !data.empty()) {
        ssize_t bytes = ::write(handle, data.data(), data.size());
        if (bytes < 0 && errno == EINTR) continue;
        is_written = bytes >= 0;
        if (is_written) data.remove_prefix(static_cast<std::size_t>(bytes));
    }
    is_written = is_written && ::fsync(handle) == 0 && ::rename(temporary.c_str(), path.c_str()) == 0;
    int reason = errno;
    ::close(handle);
    if (is_written) return;
    ::unlink(temporary.c_str());
    errno = reason;
    cannot(path, "written");
}

Json words(const std::string& value) {
    Json made;
    made.kind = Json::Kind::string;
    made.text = value;
    return made;
}

Json object(std::map<std::string, Json> members) {
    Json made;
    made.kind = Json::Kind::object;
    made.members = std::move(members);
    return made;
}

Json key_of(const PlanKey& key) {
    std::map<std::string, Json> members;
    for (const auto& [name, value] : key) members.emplace(name, words(value));
    return object(std::move(members));
}

void forget_the_oldest(const std::string& folder) {
    namespace fs = std::filesystem;
    std::vector<std::pair<fs::file_time_type, fs::path>> engines;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored))
        if (entry.path().extension() == ".engine") engines.emplace_back(fs::last_write_time(entry.path(), ignored), entry.path());
    std::sort(engines.begin(), engines.end());
    for (std::size_t index = 0; index + most_engines < engines.size(); ++index)
        for (const char* suffix : {".engine", ".json", ".jit"}) fs::remove(engines[index].second.replace_extension(suffix), ignored);
}

// The first line of /proc/cpuinfo with one of these names; printable ASCII of it.
std::string of_cpuinfo(std::initializer_list<std::string_view> names) {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        std::size_t colon = line.find(':');
        std::string_view name = std::string_view(line).substr(0, std::min(colon, line.find_last_not_of(" \t", colon - 1) + 1));
        if (colon == std::string::npos || std::find(names.begin(), names.end(), name) == names.end()) continue;
        std::string value;
        for (char character : line.substr(colon + 1))
            if (character >= ' ' && character <= '~') value += character;
        std::size_t start = value.find_first_not_of(' ');
        return start == std::string::npos ? "" : value.substr(start);
    }
    return "";
}

}  // namespace

std::string plan_digest(const PlanKey& key) {
    // As Python's json.dumps writes it, names in order.
    std::string text = "{";
    for (const auto& [name, value] : key) {
        text += (text.size() == 1 ? "\"" : ", \"") + name + "\": \"";
        for (char character : value) {
            if (character == '"' || character == '\\') text += '\\';
            text += character;
        }
        text += '"';
    }
    return sha256(text + "}").substr(0, digest_characters);
}

void require_private(const std::string& folder) {
    struct stat status {};
    if (::lstat(folder.c_str(), &status) != 0) return;  // nothing was built yet
    bool is_link = S_ISLNK(status.st_mode), is_foreign = status.st_uid != ::geteuid();
    if (!is_link && !is_foreign && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0) return;
    refuse(PHYSEDGE_ENVIRONMENT, "PE-TRT-010",
           "the engine cache " + folder + (is_link ? " is a link" : is_foreign ? " belongs to another user" : " is open") +
               ": others could put code there",
           "a folder of this user that nobody else can write", "chmod go-w it, or name another cache_folder");
}

void refuse_too_large(const std::string& path, std::size_t most_bytes) {
    refuse(PHYSEDGE_ENVIRONMENT, "PE-TRT-010", path + " is larger than " + std::to_string(most_bytes) + " bytes", "an engine and its record",
           "remove " + path);
}

std::string engine_folder(const std::string& cache_folder) {
    std::string folder = cache_folder + "/engines";
    std::error_code failed;
    std::filesystem::create_directories(cache_folder, failed);
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) cannot(folder, "made");
    require_private(folder);
    return folder;
}

std::optional<std::string> load_engine(const std::string& cache_folder, const PlanKey& key) {
    const std::string folder = cache_folder + "/engines", base = folder + "/" + plan_digest(key);
    if (::access((base + ".engine").c_str(), F_OK) != 0) return std::nullopt;
    require_private(folder);
    Locked lock(folder, LOCK_SH);
    std::optional<std::string> record = read_private_file<std::string>(base + ".json", largest_record_bytes);
    std::optional<std::string> engine = read_private_file<std::string>(base + ".engine", largest_engine_bytes);
    if (!record || !engine) return std::nullopt;
    try {
        Json told = parse_json(*record);
        const Json *hash = told.find("sha256"), *kept = told.find("key");
        bool is_the_one = hash != nullptr && kept != nullptr && canonical_json(*kept) == canonical_json(key_of(key)) &&
                          hash->text == sha256(*engine);
        if (!is_the_one) return std::nullopt;
    } catch (const JsonError&) {
        return std::nullopt;
    }
    ::utimensat(AT_FDCWD, (base + ".engine").c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
    return engine;
}

void store_engine(const std::string& cache_folder, const PlanKey& key, const std::string& engine) {
    const std::string folder = engine_folder(cache_folder), base = folder + "/" + plan_digest(key);
    Json record = object({{"key", key_of(key)}, {"note", object({})}, {"sha256", words(sha256(engine))}});
    Locked lock(folder, LOCK_EX);
    // In this order a power cut leaves no engine, never an engine that does not fit its record.
    for (const char* suffix : {".engine", ".json", ".jit"}) ::unlink((base + suffix).c_str());
    write_whole(folder, base + ".json", canonical_json(record));
    write_whole(folder, base + ".engine", engine);
    forget_the_oldest(folder);
}

std::string processor_name() {
    std::string name = of_cpuinfo({"model name", "Model"});
    return name.empty() ? "unknown processor" : name;
}

std::string instruction_sets() {
    utsname system{};
    std::string text = ::uname(&system) == 0 ? system.machine : "unknown";
    std::istringstream flags(of_cpuinfo({"flags", "Features"}));
    std::vector<std::string> found;
    for (std::string flag; flags >> flag;) found.push_back(flag);
    for (const char* relevant : relevant_flags)
        if (std::find(found.begin(), found.end(), relevant) != found.end()) text += " " + std::string(relevant);
    return text;
}

}  // namespace physedge
