#include "graph_wire.hpp"

#include <algorithm>
#include <iterator>

#include "text.hpp"

namespace physedge {

namespace {

enum class What { integer, real, text, bytes, message, refused };
enum : unsigned { varint_wire = 0, fixed64_wire = 1, bytes_wire = 2, fixed32_wire = 5 };

struct MessageRules;

struct Rule {
    unsigned number;
    const char* name;
    unsigned wire;
    What what;
    bool many;
    const MessageRules* inner;
    const char* identifier;
    const char* found;
    const char* expected;
};

struct MessageRules {
    const char* name;
    const Rule* rules;
    std::size_t count;

    const Rule* find(std::uint64_t number) const {
        const Rule* end = rules + count;
        const Rule* found = std::lower_bound(rules, end, number, [](const Rule& rule, std::uint64_t wanted) { return rule.number < wanted; });
        return found != end && found->number == number ? found : nullptr;
    }
};

constexpr Rule read(unsigned number, const char* name, unsigned wire, What what, bool many, const MessageRules* inner) {
    return {number, name, wire, what, many, inner, nullptr, nullptr, nullptr};
}

constexpr Rule refused(unsigned number, const char* identifier, const char* found, const char* expected) {
    return {number, "", 0, What::refused, false, nullptr, identifier, found, expected};
}

#include "graph_messages.inc"

// An integer of 7 bits a byte, lowest first: 32 bits in five bytes, 64 in ten.
std::uint64_t varint(std::string_view data, std::size_t& position, int most_bytes) {
    std::uint64_t value = 0;
    for (int place = 0; place < most_bytes; ++place) {
        if (position >= data.size()) throw NotWhole{"an integer runs past its end"};
        std::uint64_t byte = static_cast<unsigned char>(data[position++]);
        value |= (byte & 0x7F) << (7 * place);
        if (byte >= 0x80) continue;
        if (byte == 0 && place > 0) throw NotCanonical{"an integer in more bytes than it needs"};
        // The last byte of the longest form has room for more bits than there are.
        bool is_beyond = most_bytes == 5 ? value >> 32 != 0 : place == 9 && byte > 1;
        if (is_beyond) throw NotCanonical{"an integer with too many bits"};
        return value;
    }
    throw NotWhole{"an integer of too many bytes"};
}

// Whether a text is UTF-8: no overlong form, no half of a pair, nothing beyond U+10FFFF.
bool is_utf8(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        auto byte = [&](std::size_t ahead) -> unsigned {
            return at + ahead < text.size() ? static_cast<unsigned char>(text[at + ahead]) : 0u;
        };
        auto follows = [&](std::size_t ahead) { return (byte(ahead) & 0xC0) == 0x80; };
        unsigned first = byte(0);
        if (first < 0x80) {
            at += 1;
        } else if (first >= 0xC2 && first <= 0xDF && follows(1)) {
            at += 2;
        } else if ((first & 0xF0) == 0xE0 && follows(1) && follows(2)) {
            if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F)) return false;
            at += 3;
        } else if (first >= 0xF0 && first <= 0xF4 && follows(1) && follows(2) && follows(3)) {
            if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) return false;
            at += 4;
        } else {
            return false;
        }
    }
    return true;
}

void check_text(std::string_view text) {
    if (text.size() > most_text_bytes)
        throw NotAllowed{"PE-BUNDLE-034", "a text of " + std::to_string(text.size()) + " bytes", "at most " + std::to_string(most_text_bytes)};
    if (!is_utf8(text)) throw NotCanonical{"a text that is not UTF-8"};
    bool is_plain = std::none_of(text.begin(), text.end(), [](char character) {
        return static_cast<unsigned char>(character) < 0x20 || character == 0x7F;
    });
    if (!is_plain) throw NotCanonical{"a text with a control character"};
}

// One reading; it counts what it has read, so that its time and memory are bounded whatever the bytes are.
class Reader {
public:
    Message message(const MessageRules& rules, std::string_view data) {
        Message read;
        std::uint64_t last = 0;
        for (std::size_t position = 0; position < data.size();) {
            std::uint64_t tag = varint(data, position, 5), number = tag >> 3;
            auto wire = static_cast<unsigned>(tag & 7);
            bool is_wire = wire == varint_wire || wire == fixed64_wire || wire == bytes_wire || wire == fixed32_wire;
            if (number == 0 || !is_wire)
                throw NotWhole{"field " + std::to_string(number) + " with the wire type " + std::to_string(wire)};
            const Rule* rule = rules.find(number);
            if (rule == nullptr) throw NotCanonical{"the field " + std::to_string(number) + " in a " + rules.name};
            if (++fields_ > most_fields)
                throw NotAllowed{"PE-BUNDLE-034", "more than " + std::to_string(most_fields) + " fields", "a graph within the limits"};
            if (rule->what == What::refused) throw NotAllowed{rule->identifier, rule->found, rule->expected};
            if (wire != rule->wire) throw NotCanonical{std::string(rule->name) + " with the wire type " + std::to_string(wire)};
            if (number < last) throw NotCanonical{std::string(rule->name) + " out of its place in a " + rules.name};
            if (number == last && !rule->many) throw NotCanonical{std::string(rule->name) + " twice in a " + rules.name};
            last = number;
            read.fields.push_back(field(*rule, data, position));
        }
        return read;
    }

private:
    std::size_t fields_ = 0;

    Field field(const Rule& rule, std::string_view data, std::size_t& position) {
        Field read;
        read.number = rule.number;
        if (rule.wire == varint_wire) {
            read.integer = static_cast<std::int64_t>(varint(data, position, 10));
            return read;
        }
        std::uint64_t size = rule.wire == bytes_wire ? varint(data, position, 10) : 4;
        if (size > data.size() - position) throw NotWhole{"a field runs past its end"};
        read.bytes = data.substr(position, static_cast<std::size_t>(size));
        position += static_cast<std::size_t>(size);
        if (rule.what == What::text) check_text(read.bytes);
        if (rule.what == What::message) read.message = std::make_unique<Message>(message(*rule.inner, read.bytes));
        return read;
    }
};

}  // namespace

Message::List Message::list(unsigned number) const {
    struct ByNumber {
        bool operator()(const Field& one, unsigned other) const { return one.number < other; }
        bool operator()(unsigned one, const Field& other) const { return one < other.number; }
    };
    auto [first, last] = std::equal_range(fields.begin(), fields.end(), number, ByNumber{});
    return {fields.data() + (first - fields.begin()), fields.data() + (last - fields.begin())};
}

const Field* Message::find(unsigned number) const {
    List found = list(number);
    return found.size() == 0 ? nullptr : found.first;
}

std::int64_t Message::integer(unsigned number) const {
    const Field* found = find(number);
    return found == nullptr ? 0 : found->integer;
}

std::string_view Message::text(unsigned number) const {
    const Field* found = find(number);
    return found == nullptr ? std::string_view{} : found->bytes;
}

const Message* Message::message(unsigned number) const {
    const Field* found = find(number);
    return found == nullptr ? nullptr : found->message.get();
}

std::vector<std::int64_t> Message::integers(unsigned number) const {
    std::vector<std::int64_t> values;
    for (const Field& field : list(number)) values.push_back(field.integer);
    return values;
}

Message read_model(std::string_view data) { return Reader().message(model_rules, data); }

}  // namespace physedge
