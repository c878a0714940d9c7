#include "graph_check.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "ir_check.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

#include "operators.inc"

using Wide = unsigned __int128;

struct Broken {
    std::string why;
};

// One field of a message: an integer or bytes.
struct Field {
    std::uint64_t number;
    unsigned wire;
    std::uint64_t integer;
    std::string_view bytes;

    bool is_integer() const { return wire == 0; }
    std::string_view message() const {
        if (is_integer()) throw Broken{"an integer where a message should be"};
        return bytes;
    }
};

std::uint64_t varint(std::string_view data, std::size_t& position) {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (position >= data.size()) throw Broken{"an integer runs past its end"};
        auto byte = static_cast<unsigned char>(data[position++]);
        if (shift < 64) value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
        if (byte < 0x80) return value;
    }
    throw Broken{"an integer of more than ten bytes"};
}

class Fields {
public:
    explicit Fields(std::string_view data) : data_(data) {}

    bool next(Field& field) {
        if (position_ >= data_.size()) return false;
        std::uint64_t key = varint(data_, position_);
        field = {key >> 3, static_cast<unsigned>(key & 7), 0, {}};
        if (field.number == 0) throw Broken{"a field without a number"};
        if (field.wire == 0) {
            field.integer = varint(data_, position_);
            return true;
        }
        std::uint64_t size;
        if (field.wire == 2)
            size = varint(data_, position_);
        else if (field.wire == 1 || field.wire == 5)
            size = field.wire == 1 ? 8 : 4;
        else
            throw Broken{"wire type " + std::to_string(field.wire)};
        if (size > data_.size() - position_) throw Broken{"a field runs past its end"};
        field.bytes = data_.substr(position_, static_cast<std::size_t>(size));
        position_ += static_cast<std::size_t>(size);
        return true;
    }

private:
    std::string_view data_;
    std::size_t position_ = 0;
};

// The signed integers of a field, packed or not.
void add_integers(const Field& field, std::vector<std::int64_t>& values) {
    if (field.is_integer()) return values.push_back(static_cast<std::int64_t>(field.integer));
    if (field.wire != 2) throw Broken{"a fixed number where an integer should be"};
    if (field.bytes.empty()) values.push_back(0);
    for (std::size_t position = 0; position < field.bytes.size();)
        values.push_back(static_cast<std::int64_t>(varint(field.bytes, position)));
}

unsigned bits_of(std::int64_t kind) {
    return kind >= 0 && kind < static_cast<std::int64_t>(sizeof kind_bits) ? kind_bits[kind] : 0;
}

// A product that stays at the limit where it would grow beyond it.
class Product {
public:
    void times(std::uint64_t factor) {
        value_ *= factor;
        if (value_ > limit) value_ = factor == 0 ? 0 : limit;
    }
    bool is_too_large() const { return value_ > static_cast<Wide>(most_elements); }
    std::uint64_t value() const { return static_cast<std::uint64_t>(value_); }

private:
    static constexpr Wide limit = Wide{1} << 62;
    Wide value_ = 1;
};

std::string shown(const std::vector<std::int64_t>& dims) {
    std::string text;
    for (std::size_t index = 0; index < dims.size() && index < 6; ++index)
        text += (index == 0 ? "" : " x ") + std::to_string(dims[index]);
    return text + (dims.size() > 6 ? " ..." : "");
}

struct Tensor {
    std::string_view name;
    std::vector<std::int64_t> values;  // of a short list of int64
};

class Walk {
public:
    explicit Walk(std::string origin) : origin_(std::move(origin)) {}

    void model(std::string_view data) {
        int graphs = 0;
        Fields fields(data);
        for (Field field; fields.next(field);) {
            if (field.number == 7) {
                graph(field.message());
                ++graphs;
            } else if (field.number == 20 || field.number == 25) {
                refuse("PE-BUNDLE-035", field.number == 20 ? "training information" : "a function of its own",
                       "one plain graph");
            }
        }
        if (graphs != 1) throw Broken{std::to_string(graphs) + " graphs"};
        for (const auto& [name, input] : shapes_wanted_)
            if (auto found = values_.find(input); found != values_.end()) check_shape(name, found->second);
    }

private:
    std::string origin_;
    std::size_t nodes_ = 0;
    std::map<std::string_view, std::vector<std::int64_t>> values_;
    std::vector<std::pair<std::string_view, std::string_view>> shapes_wanted_;  // operator, input

    [[noreturn]] void refuse(const char* identifier, const std::string& found, const std::string& expected) const {
        physedge::refuse(PHYSEDGE_INTEGRITY, identifier, origin_ + " has " + found, expected,
                         "do not use it; its maker exports the network without this");
    }

    void graph(std::string_view data) {
        Fields fields(data);
        for (Field field; fields.next(field);) {
            if (field.number == 1) {
                node(field.message());
            } else if (field.number == 5) {
                Tensor found = tensor(field.message());
                values_[found.name] = std::move(found.values);
            } else if (field.number >= 11 && field.number <= 13) {
                value_info(field.message());
            } else if (field.number == 15) {
                refuse("PE-BUNDLE-035", "a sparse tensor", "one plain graph");
            }
        }
    }

    void node(std::string_view data) {
        std::vector<std::string_view> inputs;
        std::string_view output, name, domain;
        bool has_output = false, has_constant = false;
        Tensor constant;
        Fields fields(data);
        for (Field field; fields.next(field);) {
            if (field.number == 1) {
                inputs.push_back(field.message());
            } else if (field.number == 2) {
                std::string_view found = field.message();
                if (!std::exchange(has_output, true)) output = found;
            } else if (field.number == 4) {
                name = field.message();
            } else if (field.number == 5) {
                has_constant = attribute(field.message(), constant) || has_constant;
            } else if (field.number == 7) {
                domain = field.message();
            }
        }
        if (++nodes_ > most_nodes)
            refuse("PE-BUNDLE-034", "more than " + std::to_string(most_nodes) + " nodes", "a graph within the limits");
        if (!domain.empty() && domain != "ai.onnx")
            refuse("PE-BUNDLE-033", "the operator " + quoted(name) + " of the domain " + quoted(domain),
                   "operators of the ONNX standard");
        if (!std::binary_search(std::begin(operators), std::end(operators), name))
            refuse("PE-BUNDLE-032", "the operator " + quoted(name), "operators that docs/security.md lists");
        if (has_constant && has_output) values_[output] = std::move(constant.values);
        for (const auto& [wanted, place] : shape_inputs)
            if (wanted == name && place < inputs.size()) shapes_wanted_.emplace_back(name, inputs[place]);
    }

    bool attribute(std::string_view data, Tensor& constant) {
        bool has_tensor = false;
        Fields fields(data);
        for (Field field; fields.next(field);) {
            if (field.number == 5 || field.number == 10) {
                constant = tensor(field.message());
                has_tensor = true;
            } else if (field.number == 6 || field.number == 11 || field.number == 22 || field.number == 23) {
                refuse("PE-BUNDLE-035", "a graph or a sparse tensor inside a node", "one plain graph");
            }
        }
        return has_tensor;
    }

    Tensor tensor(std::string_view data) {
        std::vector<std::int64_t> dims, numbers;
        Tensor found;
        std::int64_t kind = 0;
        bool has_raw = false;
        std::string_view raw;
        std::uint64_t typed_bytes = 0;
        Fields fields(data);
        for (Field field; fields.next(field);) {
            switch (field.number) {
                case 1: add_integers(field, dims); break;
                case 2:
                    numbers.clear();
                    add_integers(field, numbers);
                    kind = numbers[0];
                    break;
                case 8: found.name = field.message(); break;
                case 9:
                    raw = field.message();
                    has_raw = true;
                    break;
                case 4: case 5: case 7: case 10: case 11:
                    typed_bytes += field.is_integer() ? 1 : field.bytes.size();
                    if (field.number == 7 && typed_bytes <= short_bytes) add_integers(field, found.values);
                    break;
                case 13: external();
                case 14:
                    if (!field.is_integer() || field.integer != 0) external();
                    break;
                default: break;
            }
        }
        check_size(dims, kind, has_raw, has_raw ? raw.size() : typed_bytes);
        if (kind != int64_kind) found.values.clear();
        if (kind == int64_kind && has_raw && raw.size() <= short_bytes) {
            found.values.assign(raw.size() / 8, 0);
            std::memcpy(found.values.data(), raw.data(), found.values.size() * 8);
        }
        return found;
    }

    [[noreturn]] void external() const {
        refuse("PE-BUNDLE-031", "a tensor whose data lies in another file", "data in the graph");
    }

    void check_size(const std::vector<std::int64_t>& dims, std::int64_t kind, bool has_raw, std::uint64_t held) const {
        unsigned bits = bits_of(kind);
        if (bits == 0) refuse("PE-BUNDLE-034", "a tensor of the data type " + std::to_string(kind), "numbers");
        Product elements;
        bool is_negative = false;
        for (std::int64_t side : dims) {
            is_negative = is_negative || side < 0;
            elements.times(static_cast<std::uint64_t>(std::max<std::int64_t>(side, 0)));
        }
        if (is_negative || elements.is_too_large())
            refuse("PE-BUNDLE-034", "a tensor of the shape " + shown(dims), "a shape within the limits");
        // Typed fields take at least one byte an element, or half of one for two packed together.
        std::uint64_t wanted = (elements.value() * (has_raw ? bits : std::min(bits, 8u)) + 7) / 8;
        if (has_raw ? held != wanted : held < wanted)
            refuse("PE-BUNDLE-034",
                   "a tensor of the shape " + shown(dims) + " with " + std::to_string(held) + " bytes",
                   "the data that it names");
    }

    void value_info(std::string_view data) {
        Fields fields(data);
        for (Field kind; fields.next(kind);) {
            if (kind.number != 2) continue;
            Fields types(kind.message());
            for (Field type; types.next(type);) {
                if (type.number != 1) refuse("PE-BUNDLE-035", "a value that is no tensor", "tensors");
                Fields parts(type.message());
                for (Field part; parts.next(part);)
                    if (part.number == 2) declared_shape(part.message());
            }
        }
    }

    void declared_shape(std::string_view data) {
        std::vector<std::int64_t> dims;
        Product elements;
        bool is_huge = false;
        Fields fields(data);
        for (Field field; fields.next(field);) {
            if (field.number != 1) continue;
            Fields parts(field.message());
            for (Field part; parts.next(part);) {
                if (part.number != 1 || !part.is_integer()) continue;
                is_huge = is_huge || part.integer >> 63 != 0;
                dims.push_back(static_cast<std::int64_t>(part.integer));
                elements.times(part.integer);
            }
        }
        if (is_huge || elements.is_too_large())
            refuse("PE-BUNDLE-034", "a value of the shape " + shown(dims), "a shape within the limits");
    }

    void check_shape(std::string_view name, const std::vector<std::int64_t>& values) const {
        Product elements;
        bool is_wide = false;
        for (std::int64_t value : values) {
            is_wide = is_wide || value > most_padding || value < -most_padding;
            if (value > 0) elements.times(static_cast<std::uint64_t>(value));
        }
        if (name == "Pad" ? is_wide : elements.is_too_large())
            refuse("PE-BUNDLE-034", std::string(name) + " to " + shown(values), "a shape within the limits");
    }
};

}  // namespace

void check_graph(std::string_view graph, const std::string& origin) {
    if (is_ir(graph)) return check_ir(graph, origin);
    try {
        Walk(origin).model(graph);
    } catch (const Broken& broken) {
        refuse_bundle("PE-BUNDLE-030", origin + " is no whole ONNX graph (" + broken.why + ")",
                      "the graph that physedge export wrote");
    }
}

}  // namespace physedge
