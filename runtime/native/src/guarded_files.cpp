#include "guarded_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <string_view>
#include <system_error>
#include <vector>

#include "refusal.hpp"

namespace physedge {

namespace {

constexpr int most_links = 40;

[[noreturn]] void fail(int code) { throw std::system_error(code, std::generic_category()); }

class Descriptor {
public:
    explicit Descriptor(const std::string& path)
        // Without blocking: a pipe in its place that nobody writes to must not hold us up.
        : number(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
        if (number < 0) fail(errno);
    }
    ~Descriptor() { close(number); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    const int number;
};

// Owner and mode of one thing on the way. In a folder with the sticky bit everybody may create, and nobody may exchange
// what another one created.
void refuse_owner_or_mode(const std::string& path, const struct stat& status) {
    bool is_foreign = status.st_uid != 0 && status.st_uid != geteuid();
    bool is_open = !S_ISLNK(status.st_mode) && (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 &&
                   !(S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0);
    if (!is_foreign && !is_open) return;
    refuse(PHYSEDGE_INTEGRITY, "PE-SIGN-004", path + (is_foreign ? " belongs to another user" : " may be changed by others"),
           "a file that only its owner or root may change, and only such folders and links on the way to it",
           is_foreign ? "check who put it there, then chown it to root: " + path
                      : "check who changed it, then chmod go-w " + path);
}

// Puts the parts of a path onto a pile, the last one at the bottom.
void pile_up(std::string_view path, std::vector<std::string>& pending) {
    std::size_t end = path.size();
    while (end != 0) {
        std::size_t slash = path.rfind('/', end - 1);
        std::size_t start = slash == std::string_view::npos ? 0 : slash + 1;
        std::string_view name = path.substr(start, end - start);
        if (!name.empty() && name != ".") pending.emplace_back(name);
        end = slash == std::string_view::npos ? 0 : slash;
    }
    if (!path.empty() && path[0] == '/') pending.emplace_back("/");
}

std::string current_folder() {
    char here[PATH_MAX];
    if (getcwd(here, sizeof here) == nullptr) fail(errno);
    return here;
}

std::string target_of(const std::string& link) {
    char target[PATH_MAX];
    ssize_t bytes = readlink(link.c_str(), target, sizeof target);
    if (bytes < 0) fail(errno);
    return std::string(target, static_cast<std::size_t>(bytes));
}

void refuse_changeable(const std::string& path) {
    std::string here = "/";
    std::vector<std::string> pending;
    pile_up(path, pending);
    if (path.empty() || path[0] != '/') pile_up(current_folder(), pending);
    int links = 0;
    while (!pending.empty()) {
        std::string name = std::move(pending.back());
        pending.pop_back();
        if (name == "..") {
            here = folder_of(here);
            continue;
        }
        here = name == "/" ? name : here == "/" ? "/" + name : here + "/" + name;
        struct stat status{};
        if (lstat(here.c_str(), &status) != 0) fail(errno);
        refuse_owner_or_mode(here, status);
        if (!S_ISLNK(status.st_mode)) continue;
        if (++links > most_links) fail(ELOOP);
        pile_up(target_of(here), pending);
        here = folder_of(here);
    }
}

}  // namespace

std::string folder_of(const std::string& path) {
    std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::optional<std::string> read_guarded(const std::string& path, std::size_t largest_bytes) {
    refuse_changeable(path);
    Descriptor file(path);
    struct stat status{};
    if (fstat(file.number, &status) != 0) fail(errno);
    if (!S_ISREG(status.st_mode)) fail(S_ISDIR(status.st_mode) ? EISDIR : EINVAL);
    refuse_owner_or_mode(path, status);  // of what was opened, which may be another file than was looked at
    std::string data;
    char part[16 << 10];
    while (data.size() <= largest_bytes) {
        ssize_t bytes = read(file.number, part, sizeof part);
        if (bytes < 0 && errno == EINTR) continue;
        if (bytes < 0) fail(errno);
        if (bytes == 0) return data;
        data.append(part, static_cast<std::size_t>(bytes));
    }
    return std::nullopt;
}

bool is_there(const std::string& path) {
    struct stat status{};
    if (lstat(path.c_str(), &status) == 0) return true;
    if (errno != ENOENT) return true;
    std::string folder = folder_of(path);
    return lstat(folder.c_str(), &status) == 0 && S_ISLNK(status.st_mode) && stat(folder.c_str(), &status) != 0;
}

}  // namespace physedge
