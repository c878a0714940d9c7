// An ONNX file read field by field, in the one spelling that ONNX's own library writes; see graph_wire.py.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace physedge {

// The bytes end within a message, or are none.
struct NotWhole {
    std::string why;
};

// The bytes are spelled as physedge does not write them, or hold what it does not read.
struct NotCanonical {
    std::string why;
};

// A part that no deployed graph needs.
struct NotAllowed {
    std::string identifier;
    std::string found;
    std::string expected;
};

#include "graph_fields.inc"

struct Message;

// One field: an integer, or bytes (a float, text, raw bytes), or a message.
struct Field {
    unsigned number = 0;
    std::int64_t integer = 0;
    std::string_view bytes;
    std::unique_ptr<Message> message;
};

struct Message {
    std::vector<Field> fields;  // in ascending order of their numbers

    // The field that stands there once; nullptr where it does not.
    const Field* find(unsigned number) const;
    std::int64_t integer(unsigned number) const;  // 0 where it is not there
    std::string_view text(unsigned number) const;
    const Message* message(unsigned number) const;

    // The fields of a list.
    struct List {
        const Field* first;
        const Field* last;
        const Field* begin() const { return first; }
        const Field* end() const { return last; }
        std::size_t size() const { return static_cast<std::size_t>(last - first); }
        const Field& operator[](std::size_t index) const { return first[index]; }
    };
    List list(unsigned number) const;
    std::vector<std::int64_t> integers(unsigned number) const;
};

// The model in an ONNX file; its views point into `data`. Throws NotWhole, NotCanonical, NotAllowed.
Message read_model(std::string_view data);

}  // namespace physedge
