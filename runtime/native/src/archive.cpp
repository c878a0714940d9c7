#include "archive.hpp"

#include <minizip/unzip.h>
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "patterns.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

constexpr std::size_t most_entries = 512;
constexpr std::size_t local_bytes = 30;
// Python's zipfile gives a larger entry a field of its own, in a way that depends on its version.
constexpr unsigned long long largest_entry_bytes = 2045222520;  // (2^31 - 1) / 1.05
constexpr std::uint16_t version = 20, unix_system = 3, fixed_date = 33;  // 1980-01-01
constexpr std::uint32_t regular_file_0644 = 0100644u << 16;

struct Record {
    std::string name;
    std::uint32_t crc;
    std::uint32_t size;
};

// minizip reads from memory through these.
struct Memory {
    std::string_view data;
    std::size_t position = 0;
};

voidpf open_memory(voidpf opaque, const void*, int) { return opaque; }

uLong read_memory(voidpf, voidpf stream, void* buffer, uLong size) {
    auto* memory = static_cast<Memory*>(stream);
    std::size_t bytes = std::min<std::size_t>(size, memory->data.size() - memory->position);
    std::memcpy(buffer, memory->data.data() + memory->position, bytes);
    memory->position += bytes;
    return static_cast<uLong>(bytes);
}

uLong write_nothing(voidpf, voidpf, const void*, uLong) { return 0; }

ZPOS64_T tell_memory(voidpf, voidpf stream) { return static_cast<Memory*>(stream)->position; }

long seek_memory(voidpf, voidpf stream, ZPOS64_T offset, int origin) {
    auto* memory = static_cast<Memory*>(stream);
    ZPOS64_T base = 0;
    if (origin == ZLIB_FILEFUNC_SEEK_CUR) base = memory->position;
    if (origin == ZLIB_FILEFUNC_SEEK_END) base = memory->data.size();
    ZPOS64_T target = base + offset;
    if (target < base || target > memory->data.size()) return -1;
    memory->position = static_cast<std::size_t>(target);
    return 0;
}

int close_memory(voidpf, voidpf) { return 0; }
int no_error(voidpf, voidpf) { return 0; }

struct Closer {
    void operator()(void* file) const { unzClose(file); }
};
using Unzip = std::unique_ptr<void, Closer>;

[[noreturn]] void no_whole_zip(const std::string& origin) {
    refuse_bundle("PE-BUNDLE-002", origin + " is no whole zip file", "a bundle");
}

[[noreturn]] void not_canonical(const std::string& origin) {
    refuse_bundle("PE-BUNDLE-007", origin + " is not in canonical form", "the bytes that physedge writes");
}

bool is_safe_name(std::string_view name) {
    std::size_t parts = 1, start = 0;
    for (std::size_t index = 0; index <= name.size(); ++index) {
        if (index < name.size() && name[index] != '/') {
            char character = name[index];
            if (!is_letter_or_digit(character) && std::strchr("._-", character) == nullptr) return false;
            if (character == '\0') return false;  // strchr finds the end of its list
            continue;
        }
        if (index == start || name[start] == '.') return false;
        start = index + 1;
        parts += index < name.size();
    }
    return parts <= 2;
}

std::string lower(std::string_view name) {
    std::string text(name);
    for (char& character : text)
        if (character >= 'A' && character <= 'Z') character = static_cast<char>(character + ('a' - 'A'));
    return text;
}

void check_record(const std::string& name, const unz_file_info64& info, std::set<std::string>& seen,
                  const std::string& origin) {
    if (!is_safe_name(name))
        refuse_bundle("PE-BUNDLE-004", origin + " has the entry " + quoted(name), "a plain name inside the bundle");
    if (!seen.insert(lower(name)).second)
        refuse_bundle("PE-BUNDLE-005", origin + " has the entry " + quoted(name) + " twice", "every name once");
    unsigned long kind = (info.external_fa >> 16) & 0170000;
    if (kind != 0 && kind != 0100000)
        refuse_bundle("PE-BUNDLE-015", "the entry " + quoted(name) + " of " + origin + " is a link or a device",
                      "a plain file");
    if (info.compression_method != 0 || info.flag != 0 || info.compressed_size != info.uncompressed_size)
        refuse_bundle("PE-BUNDLE-006", "the entry " + quoted(name) + " of " + origin + " is packed",
                      "entries stored as they are");
    unsigned long long limit = name == manifest_entry ? largest_manifest_bytes : largest_entry_bytes;
    if (info.uncompressed_size > limit)
        refuse_bundle("PE-BUNDLE-003",
                      "the entry " + quoted(name) + " has " + std::to_string(info.uncompressed_size) + " bytes",
                      "at most " + std::to_string(limit));
}

std::vector<Record> read_directory(void* file, const std::string& origin) {
    unz_global_info64 global;
    if (unzGetGlobalInfo64(file, &global) != UNZ_OK) no_whole_zip(origin);
    if (global.number_entry > most_entries)
        refuse_bundle("PE-BUNDLE-003", origin + " has " + std::to_string(global.number_entry) + " entries",
                      "at most " + std::to_string(most_entries));
    std::vector<Record> records;
    std::set<std::string> seen;
    std::vector<char> name(65536);
    for (std::size_t index = 0; index < global.number_entry; ++index) {
        unz_file_info64 info;
        int moved = index == 0 ? unzGoToFirstFile(file) : unzGoToNextFile(file);
        if (moved != UNZ_OK || unzGetCurrentFileInfo64(file, &info, name.data(), name.size(), nullptr, 0, nullptr, 0) != UNZ_OK)
            no_whole_zip(origin);
        std::string text(name.data(), info.size_filename);  // with the zero bytes that a careless reader stops at
        check_record(text, info, seen, origin);
        records.push_back({std::move(text), static_cast<std::uint32_t>(info.crc),
                           static_cast<std::uint32_t>(info.uncompressed_size)});
    }
    return records;
}

// Read every entry as minizip finds it and compare its checksum. What does not cohere is told from what is merely
// written otherwise by the canonical comparison that follows.
void check_contents(void* file, std::size_t entries, const std::string& origin) {
    std::vector<char> buffer(1 << 16);
    for (std::size_t index = 0; index < entries; ++index) {
        if ((index == 0 ? unzGoToFirstFile(file) : unzGoToNextFile(file)) != UNZ_OK) no_whole_zip(origin);
        if (unzOpenCurrentFile(file) != UNZ_OK) continue;
        int read;
        while ((read = unzReadCurrentFile(file, buffer.data(), static_cast<unsigned>(buffer.size()))) > 0) {
        }
        if (unzCloseCurrentFile(file) != UNZ_OK || read < 0) no_whole_zip(origin);
    }
}

class Bytes {
public:
    void two(std::uint32_t value) {
        text_ += static_cast<char>(value & 255);
        text_ += static_cast<char>(value >> 8 & 255);
    }
    void four(std::uint32_t value) {
        two(value & 0xFFFF);
        two(value >> 16);
    }
    void name(const std::string& name) { text_ += name; }
    std::string_view view() const { return text_; }

private:
    std::string text_;
};

// The fields that a local header and a directory record share.
void shared_fields(Bytes& bytes, const Record& record) {
    bytes.two(version);
    bytes.two(0);  // flags
    bytes.two(0);  // stored
    bytes.two(0);  // midnight
    bytes.two(fixed_date);
    bytes.four(record.crc);
    bytes.four(record.size);
    bytes.four(record.size);
    bytes.two(static_cast<std::uint32_t>(record.name.size()));
    bytes.two(0);  // extra field
}

// The archive's one form, walked through beside the data. The views that come out are those of the canonical places.
Contents compare_canonical(std::string_view data, std::vector<Record> records, const std::string& origin) {
    std::sort(records.begin(), records.end(), [](const Record& a, const Record& b) { return a.name < b.name; });
    Contents contents;
    Bytes directory;
    std::size_t position = 0;
    for (const Record& record : records) {
        Bytes header;
        header.four(0x04034b50);
        shared_fields(header, record);
        header.name(record.name);
        std::size_t header_bytes = local_bytes + record.name.size();
        if (position + header_bytes + record.size > data.size()) not_canonical(origin);
        std::string_view found = data.substr(position, header_bytes);
        std::string_view content = data.substr(position + header_bytes, record.size);
        if (found != header.view()) {
            bool is_there = found.substr(0, 4) == header.view().substr(0, 4) && found.substr(local_bytes) == record.name;
            if (!is_there) no_whole_zip(origin);
            not_canonical(origin);
        }
        auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size());
        if (crc != record.crc) no_whole_zip(origin);
        directory.four(0x02014b50);
        directory.two(version | unix_system << 8);
        shared_fields(directory, record);
        directory.two(0);  // comment
        directory.two(0);  // disk
        directory.two(0);  // internal attributes
        directory.four(regular_file_0644);
        directory.four(static_cast<std::uint32_t>(position));
        directory.name(record.name);
        contents.emplace(record.name, content);
        position += header_bytes + record.size;
    }
    std::size_t directory_bytes = directory.view().size();
    directory.four(0x06054b50);
    directory.four(0);  // disks
    directory.two(static_cast<std::uint32_t>(records.size()));
    directory.two(static_cast<std::uint32_t>(records.size()));
    directory.four(static_cast<std::uint32_t>(directory_bytes));
    directory.four(static_cast<std::uint32_t>(position));
    directory.two(0);  // comment
    if (data.substr(position) != directory.view()) not_canonical(origin);
    return contents;
}

}  // namespace

Contents read_archive(std::string_view data, const std::string& origin) {
    if (data.size() > largest_bundle_bytes)
        refuse_bundle("PE-BUNDLE-003", origin + " has " + std::to_string(data.size()) + " bytes",
                      "at most " + std::to_string(largest_bundle_bytes));
    Memory memory{data};
    zlib_filefunc64_def functions{open_memory, read_memory, write_nothing, tell_memory,
                                  seek_memory, close_memory, no_error,     &memory};
    Unzip file(unzOpen2_64("memory", &functions));
    if (!file) no_whole_zip(origin);
    std::vector<Record> records = read_directory(file.get(), origin);
    check_contents(file.get(), records.size(), origin);
    return compare_canonical(data, std::move(records), origin);
}

}  // namespace physedge
