#include "archive.hpp"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "patterns.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

constexpr std::size_t most_entries = 512;
constexpr std::size_t local_bytes = 30, directory_bytes = 46, end_bytes = 22, longest_comment = 65535;
constexpr std::string_view local_mark("PK\3\4", 4), directory_mark("PK\1\2", 4), end_mark("PK\5\6", 4);
// Python's zipfile gives a larger entry a field of its own, in a way that depends on its version.
constexpr unsigned long long largest_entry_bytes = 2045222520;  // (2^31 - 1) / 1.05
constexpr std::uint16_t version = 20, unix_system = 3, fixed_date = 33;  // 1980-01-01
constexpr std::uint32_t regular_file_0644 = 0100644u << 16;

// What the directory says of one entry, as far as it may differ from bundle to bundle.
struct Record {
    std::string name;
    std::uint32_t flags, method, checksum, packed_bytes, size_bytes, mode, offset;
};

[[noreturn]] void not_a_zip(const std::string& origin) {
    refuse_bundle("PE-BUNDLE-002", origin + " is not a valid zip file", "a bundle");
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

void check_record(const Record& record, std::set<std::string>& seen, const std::string& origin) {
    const std::string& name = record.name;
    if (!is_safe_name(name))
        refuse_bundle("PE-BUNDLE-004", origin + " has the entry " + quoted(name), "a plain name inside the bundle");
    if (!seen.insert(lower(name)).second)
        refuse_bundle("PE-BUNDLE-005", origin + " has the entry " + quoted(name) + " twice", "every name once");
    std::uint32_t kind = (record.mode >> 16) & 0170000;
    if (kind != 0 && kind != 0100000)
        refuse_bundle("PE-BUNDLE-015", "the entry " + quoted(name) + " of " + origin + " is a link or a device",
                      "a plain file");
    if (record.method != 0 || record.flags != 0 || record.packed_bytes != record.size_bytes)
        refuse_bundle("PE-BUNDLE-006", "the entry " + quoted(name) + " of " + origin + " is packed",
                      "entries stored as they are");
    unsigned long long limit = name == manifest_entry ? largest_manifest_bytes : largest_entry_bytes;
    if (record.size_bytes > limit)
        refuse_bundle("PE-BUNDLE-003", "the entry " + quoted(name) + " has " + std::to_string(record.size_bytes) + " bytes",
                      "at most " + std::to_string(limit));
}

std::uint32_t two(std::string_view data, std::size_t at) {
    auto byte = [&](std::size_t index) { return static_cast<std::uint32_t>(static_cast<unsigned char>(data[at + index])); };
    return byte(0) | byte(1) << 8;
}

std::uint32_t four(std::string_view data, std::size_t at) { return two(data, at) | two(data, at + 2) << 16; }

struct Directory {
    std::vector<Record> records;
    std::size_t start = 0;
};

// Nothing is believed but that it lies inside the file.
Directory read_directory(std::string_view data, const std::string& origin) {
    std::size_t end = data.rfind(end_mark);
    if (end == std::string_view::npos || data.size() - end < end_bytes || data.size() - end > end_bytes + longest_comment)
        not_a_zip(origin);
    std::size_t count = two(data, end + 10), size = four(data, end + 12), start = four(data, end + 16);
    if (count > most_entries)
        refuse_bundle("PE-BUNDLE-003", origin + " has " + std::to_string(count) + " entries", "at most " + std::to_string(most_entries));
    if (start + size > end) not_a_zip(origin);
    if (start + size < end || end + end_bytes < data.size()) not_canonical(origin);
    Directory directory{{}, start};
    std::size_t position = start;
    for (std::size_t index = 0; index < count; ++index) {
        if (position + directory_bytes > end || data.substr(position, 4) != directory_mark) not_a_zip(origin);
        std::size_t name = position + directory_bytes, name_bytes = two(data, position + 28);
        std::size_t next = name + name_bytes + two(data, position + 30) + two(data, position + 32);
        if (next > end) not_a_zip(origin);
        directory.records.push_back({std::string(data.substr(name, name_bytes)), two(data, position + 8), two(data, position + 10),
                                     four(data, position + 16), four(data, position + 20), four(data, position + 24),
                                     four(data, position + 38), four(data, position + 42)});
        position = next;
    }
    if (position != end) not_a_zip(origin);
    return directory;
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
    void mark(std::string_view mark) { text_ += mark; }
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
    bytes.four(record.checksum);
    bytes.four(record.size_bytes);
    bytes.four(record.size_bytes);
    bytes.two(static_cast<std::uint32_t>(record.name.size()));
    bytes.two(0);  // extra field
}

// The contents, found where the one form has them; every other byte is held against it. The views lie in the data.
Contents compare_canonical(std::string_view data, const std::vector<Record>& records, std::size_t start, const std::string& origin) {
    Contents contents;
    Bytes directory;
    std::size_t position = 0;
    for (const Record& record : records) {
        Bytes header;
        header.mark(local_mark);
        shared_fields(header, record);
        header.name(record.name);
        std::size_t first = position + header.view().size();
        if (first + record.size_bytes > start || data.substr(position, first - position) != header.view()) not_canonical(origin);
        directory.mark(directory_mark);
        directory.two(version | unix_system << 8);
        shared_fields(directory, record);
        directory.two(0);  // comment
        directory.two(0);  // disk
        directory.two(0);  // internal attributes
        directory.four(regular_file_0644);
        directory.four(static_cast<std::uint32_t>(position));
        directory.name(record.name);
        contents.emplace(record.name, data.substr(first, record.size_bytes));
        position = first + record.size_bytes;
    }
    std::size_t size = directory.view().size();
    directory.mark(end_mark);
    directory.four(0);  // disks
    directory.two(static_cast<std::uint32_t>(records.size()));
    directory.two(static_cast<std::uint32_t>(records.size()));
    directory.four(static_cast<std::uint32_t>(size));
    directory.four(static_cast<std::uint32_t>(position));
    directory.two(0);  // comment
    if (position != start || data.substr(start) != directory.view()) not_canonical(origin);
    return contents;
}

}  // namespace

Contents read_archive(std::string_view data, const std::string& origin) {
    if (data.size() > largest_bundle_bytes)
        refuse_bundle("PE-BUNDLE-003", origin + " has " + std::to_string(data.size()) + " bytes",
                      "at most " + std::to_string(largest_bundle_bytes));
    auto [records, start] = read_directory(data, origin);
    std::set<std::string> seen;
    for (const Record& record : records) check_record(record, seen, origin);
    for (const Record& record : records) {
        std::size_t place = std::size_t{record.offset} + local_bytes;
        bool is_there = place <= start && data.substr(record.offset, 4) == local_mark && data.substr(place, record.name.size()) == record.name;
        if (!is_there) not_a_zip(origin);
    }
    std::sort(records.begin(), records.end(), [](const Record& a, const Record& b) { return a.name < b.name; });
    Contents contents = compare_canonical(data, records, start, origin);
    for (const Record& record : records) {
        std::string_view content = contents.at(record.name);
        if (crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()) != record.checksum) not_a_zip(origin);
    }
    return contents;
}

}  // namespace physedge
