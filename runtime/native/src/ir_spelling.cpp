#include "ir_spelling.hpp"

#include <algorithm>

#include "graph_wire.hpp"
#include "patterns.hpp"

namespace physedge {

namespace {

#include "ir_limits.inc"

constexpr std::pair<std::string_view, char> entities[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}};

bool is_word(char character) {
    return is_digit(character) || (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           character == '_' || character == '.' || character == '-';
}

bool starts_at(std::string_view text, std::size_t at, std::string_view literal) {
    return text.size() - at >= literal.size() && text.compare(at, literal.size(), literal) == 0;
}

std::string unescaped(std::string_view value) {
    std::string found;
    for (std::size_t at = 0; at < value.size();) {
        if (value[at] != '&') {
            found += value[at++];
            continue;
        }
        const auto* entity = std::find_if(std::begin(entities), std::end(entities),
                                          [&](const auto& one) { return starts_at(value, at, one.first); });
        if (entity == std::end(entities)) throw NotCanonical{"an entity of its own"};
        found += entity->second;
        at += entity->first.size();
    }
    return found;
}

// One reading, from the first byte to the last.
class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    IrNet net() {
        IrNet net;
        expect("<net name=\"");
        value();
        expect("\" version=\"");
        number();
        expect("\"><layers>");
        while (take("<layer id=\"")) {
            if (net.layers.size() == ir_most_layers)
                throw NotAllowed{"PE-BUNDLE-034", "more than " + std::to_string(ir_most_layers) + " layers", "a graph within the limits"};
            net.layers.push_back(layer(net.layers.size()));
        }
        expect("</layers><edges>");
        while (take("<edge from-layer=\"")) {
            std::array<std::uint64_t, 4> edge{number()};
            std::size_t place = 0;
            for (const char* name : {"\" from-port=\"", "\" to-layer=\"", "\" to-port=\""}) {
                expect(name);
                edge[++place] = number();
            }
            expect("\"/>");
            net.edges.push_back(edge);
        }
        expect("</edges></net>");
        if (at_ != text_.size()) throw NotCanonical{"bytes behind the net"};
        return net;
    }

private:
    std::string_view text_;
    std::size_t at_ = 0, ports_ = 0;

    IrLayer layer(std::size_t index) {
        if (number() != index) throw NotCanonical{"another number at layer " + std::to_string(index)};
        IrLayer layer;
        expect("\" name=\"");
        value();
        expect("\" type=\"");
        layer.kind = value();
        expect("\" version=\"");
        layer.version = value();
        expect("\">");
        if (take("<data")) layer.data = data();
        if (take("<input>")) layer.inputs = list("</input>", 0);
        if (take("<output>")) layer.outputs = list("</output>", layer.inputs.size());
        expect("</layer>");
        return layer;
    }

    std::vector<std::pair<std::string_view, std::string>> data() {
        std::vector<std::pair<std::string_view, std::string>> data;
        std::string_view last;
        while (take(" ")) {
            std::size_t start = at_;
            while (at_ < text_.size() && is_word(text_[at_])) ++at_;
            std::string_view key = text_.substr(start, at_ - start);
            if (key <= last) throw NotCanonical{"attributes out of their order"};
            last = key;
            expect("=\"");
            std::string found = value();
            expect("\"");
            data.emplace_back(key, std::move(found));
        }
        expect("/>");
        if (data.empty()) throw NotCanonical{"no attributes where some should be"};
        return data;
    }

    std::vector<IrPort> list(std::string_view end, std::size_t first) {
        std::vector<IrPort> ports;
        while (take("<port id=\"")) {
            if (++ports_ > ir_most_ports)
                throw NotAllowed{"PE-BUNDLE-034", "more than " + std::to_string(ir_most_ports) + " ports", "a graph within the limits"};
            ports.push_back(port(first + ports.size()));
        }
        expect(end);
        if (ports.empty()) throw NotCanonical{"no ports in a list"};
        return ports;
    }

    IrPort port(std::size_t wanted) {
        if (number() != wanted) throw NotCanonical{"another number at port " + std::to_string(wanted)};
        IrPort port;
        expect("\" precision=\"");
        port.precision = value();
        expect("\"");
        if (take(" names=\"")) {
            value();
            expect("\"");
        }
        expect(">");
        while (take("<dim>")) {
            if (take("-1</dim>")) throw NotAllowed{"PE-BUNDLE-034", "an axis without a size", "sizes in whole numbers"};
            if (port.dims.size() == ir_most_dims)
                throw NotAllowed{"PE-BUNDLE-034", "a shape of more than " + std::to_string(ir_most_dims) + " axes", "a shape within the limits"};
            port.dims.push_back(number());
            expect("</dim>");
        }
        expect("</port>");
        return port;
    }

    bool take(std::string_view literal) {
        if (!starts_at(text_, at_, literal)) return false;
        at_ += literal.size();
        return true;
    }

    void expect(std::string_view literal) {
        if (!take(literal)) throw NotCanonical{"something else where '" + std::string(literal) + "' should stand"};
    }

    std::uint64_t number() { return whole_number(text_, at_); }

    std::string value() {
        std::string_view room = text_.substr(at_, ir_most_value_bytes + 1);
        std::size_t size = room.find('"');
        if (size == std::string_view::npos) throw NotCanonical{"a value without its end, or a long one"};
        std::string_view value = room.substr(0, size);
        at_ += size;
        bool is_plain = std::all_of(value.begin(), value.end(), [](char character) {
            return character >= ' ' && character <= '~' && character != '<' && character != '>';
        });
        if (!is_plain) throw NotCanonical{"a value with a character that XML or a terminal takes for its own"};
        return unescaped(value);
    }
};

}  // namespace

const std::string* IrLayer::find(std::string_view key) const {
    auto found = std::find_if(data.begin(), data.end(), [&](const auto& one) { return one.first == key; });
    return found == data.end() ? nullptr : &found->second;
}

IrNet read_net(std::string_view xml) {
    bool is_ascii = std::all_of(xml.begin(), xml.end(), [](char character) { return static_cast<unsigned char>(character) < 0x80; });
    if (!is_ascii) throw NotCanonical{"bytes that are not ASCII"};
    return Reader(xml).net();
}

std::uint64_t whole_number(std::string_view text, std::size_t& at) {
    std::size_t end = at;
    while (end < text.size() && end - at <= ir_most_digits && is_digit(text[end])) ++end;
    if (end == at || end - at > ir_most_digits || (text[at] == '0' && end - at > 1))
        throw NotCanonical{"no whole number in its shortest form"};
    std::uint64_t value = 0;
    for (; at < end; ++at) value = value * 10 + static_cast<std::uint64_t>(text[at] - '0');
    return value;
}

std::uint64_t only_whole_number(std::string_view text) {
    std::size_t at = 0;
    std::uint64_t value = whole_number(text, at);
    if (at != text.size()) throw NotCanonical{"no whole number in its shortest form"};
    return value;
}

std::vector<std::uint64_t> whole_numbers(std::string_view text) {
    std::vector<std::uint64_t> numbers;
    for (std::size_t at = 0; at < text.size() || !numbers.empty(); ++at) {
        numbers.push_back(whole_number(text, at));
        if (at == text.size()) break;
        if (text[at] != ',') throw NotCanonical{"no list of whole numbers"};
    }
    return numbers;
}

}  // namespace physedge
