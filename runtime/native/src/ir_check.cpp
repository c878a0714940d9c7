#include "ir_check.hpp"

#include <expat.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "patterns.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

#include "ir_operators.inc"

constexpr std::size_t length_bytes = 8, most_levels = 64;

[[noreturn]] void refuse_graph(const char* identifier, const std::string& origin, const std::string& found,
                               const std::string& expected) {
    refuse(PHYSEDGE_INTEGRITY, identifier, origin + " has " + found, expected,
           "do not use it; its maker exports the network without this");
}

bool is_among(std::string_view wanted, const std::string_view* first, const std::string_view* last) {
    return std::binary_search(first, last, wanted);
}

// A whole number of at most 18 digits.
std::optional<std::uint64_t> whole(std::string_view text) {
    auto is_space = [](char character) { return character == ' ' || (character >= '\t' && character <= '\r'); };
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    if (text.empty() || text.size() > 18 || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
    std::uint64_t value = 0;
    for (char digit : text) value = value * 10 + static_cast<std::uint64_t>(digit - '0');
    return value;
}

// A product that is known to be beyond the limit as soon as it is.
std::optional<std::uint64_t> elements_of(const std::vector<std::uint64_t>& sides) {
    if (std::find(sides.begin(), sides.end(), 0u) != sides.end()) return 0;
    std::uint64_t elements = 1;
    for (std::uint64_t side : sides) {
        if (side > ir_most_elements / elements) return std::nullopt;
        elements *= side;
    }
    return elements;
}

class Walk {
public:
    Walk(const std::string& origin, std::size_t weights_bytes) : origin_(origin), weights_bytes_(weights_bytes) {}

    std::size_t layers = 0;
    std::exception_ptr failure;

    void start(std::string_view name, const XML_Char** attributes) {
        text_.clear();
        bool is_in_notes = notes_depth_ != 0;
        ++depth_;
        if (is_in_notes) return;
        if (name == "rt_info") notes_depth_ = depth_;
        bool is_known = is_among(name, std::begin(ir_elements), std::end(ir_elements)) && (depth_ == 1) == (name == "net");
        if (!is_known || depth_ > most_levels)
            refuse_graph("PE-BUNDLE-035", origin_, "the element " + quoted(name), "layers and edges of one plain graph");
        if (name == "layer")
            layer(attributes);
        else if (name == "data" && is_constant_)
            constant(attributes);
        else if (name == "port")
            dims_.clear();
    }

    void end(std::string_view name) {
        bool is_in_notes = notes_depth_ != 0;
        if (notes_depth_ == depth_) notes_depth_ = 0;
        --depth_;
        if (name != "dim" || is_in_notes) return;
        std::optional<std::uint64_t> side = whole(text_);
        if (!side) refuse_graph("PE-BUNDLE-034", origin_, "the side " + quoted(text_.substr(0, 40)) + " of a shape", "a whole number");
        dims_.push_back(*side);
        if (!elements_of(dims_)) refuse_graph("PE-BUNDLE-034", origin_, "a tensor of a huge shape", "one within the limits");
    }

    void text(std::string_view data) {
        if (text_.size() < 4096) text_ += data.substr(0, 64);
    }

    [[noreturn]] void declaration() const {
        refuse_graph("PE-BUNDLE-035", origin_, "a document type or an entity", "plain elements");
    }

private:
    const std::string& origin_;
    std::size_t weights_bytes_;
    std::size_t depth_ = 0, notes_depth_ = 0;
    bool is_constant_ = false;
    std::vector<std::uint64_t> dims_;
    std::string text_;

    static std::string_view attribute(const XML_Char** attributes, const char* name) {
        for (; attributes[0] != nullptr; attributes += 2)
            if (std::strcmp(attributes[0], name) == 0) return attributes[1];
        return "";
    }

    void layer(const XML_Char** attributes) {
        std::string_view kind = attribute(attributes, "type"), version = attribute(attributes, "version");
        is_constant_ = kind == "Const";
        if (!is_among(kind, std::begin(ir_operators), std::end(ir_operators)))
            refuse_graph("PE-BUNDLE-032", origin_, "the operator " + quoted(kind), "operators that docs/security.md lists");
        bool is_standard = version.size() > 5 && version.substr(0, 5) == "opset" &&
                           std::all_of(version.begin() + 5, version.end(), is_digit);
        if (!is_standard)
            refuse_graph("PE-BUNDLE-033", origin_, quoted(kind) + " of the set " + quoted(version), "a standard operator set");
        if (++layers > ir_most_layers)
            refuse_graph("PE-BUNDLE-034", origin_, "more than " + std::to_string(ir_most_layers) + " layers", "a graph within the limits");
    }

    void constant(const XML_Char** attributes) const {
        std::vector<std::uint64_t> sides;
        bool is_known = true;
        std::string_view shape = attribute(attributes, "shape");
        for (std::size_t start = 0; start <= shape.size();) {
            std::size_t comma = std::min(shape.find(',', start), shape.size());
            std::string_view side = shape.substr(start, comma - start);
            start = comma + 1;
            if (side.find_first_not_of(" \t\n\v\f\r") == std::string_view::npos) continue;
            std::optional<std::uint64_t> value = whole(side);
            is_known = is_known && value.has_value();
            sides.push_back(value.value_or(0));
        }
        std::optional<std::uint64_t> offset = whole(attribute(attributes, "offset")), size = whole(attribute(attributes, "size"));
        std::optional<std::uint64_t> elements = elements_of(sides);
        std::uint64_t bits = 0;
        for (const auto& [type, width] : ir_bits)
            if (type == attribute(attributes, "element_type")) bits = width;
        bool fits = is_known && offset && size && bits != 0 && elements && *size == (*elements * bits + 7) / 8 &&
                    *offset + *size <= weights_bytes_;
        if (!fits)
            refuse_graph("PE-BUNDLE-034", origin_, "a constant that is not in its data as its shape says", "the data that it names");
    }
};

// An exception must not cross expat, which is C: it is kept, and the parser stopped.
template <typename Work>
void kept(void* parser, Work&& work) noexcept {
    auto* walk = static_cast<Walk*>(XML_GetUserData(static_cast<XML_Parser>(parser)));
    if (walk->failure) return;
    try {
        work(*walk);
    } catch (...) {
        walk->failure = std::current_exception();
        XML_StopParser(static_cast<XML_Parser>(parser), XML_FALSE);
    }
}

void on_start(void* parser, const XML_Char* name, const XML_Char** attributes) {
    kept(parser, [&](Walk& walk) { walk.start(name, attributes); });
}
void on_end(void* parser, const XML_Char* name) {
    kept(parser, [&](Walk& walk) { walk.end(name); });
}
void on_text(void* parser, const XML_Char* data, int size) {
    kept(parser, [&](Walk& walk) { walk.text({data, static_cast<std::size_t>(size)}); });
}
void on_doctype(void* parser, const XML_Char*, const XML_Char*, const XML_Char*, int) {
    kept(parser, [](Walk& walk) { walk.declaration(); });
}
void on_entity(void* parser, const XML_Char*, int, const XML_Char*, int, const XML_Char*, const XML_Char*, const XML_Char*, const XML_Char*) {
    kept(parser, [](Walk& walk) { walk.declaration(); });
}
void on_instruction(void* parser, const XML_Char*, const XML_Char*) {
    kept(parser, [](Walk& walk) { walk.declaration(); });
}

struct FreeParser {
    void operator()(XML_Parser parser) const { XML_ParserFree(parser); }
};

void walk_through(Walk& walk, std::string_view xml, const std::string& origin) {
    std::unique_ptr<XML_ParserStruct, FreeParser> parser(XML_ParserCreate(nullptr));
    if (!parser) throw std::bad_alloc();
    XML_SetUserData(parser.get(), &walk);
    XML_UseParserAsHandlerArg(parser.get());
    XML_SetElementHandler(parser.get(), on_start, on_end);
    XML_SetCharacterDataHandler(parser.get(), on_text);
    XML_SetStartDoctypeDeclHandler(parser.get(), on_doctype);
    XML_SetEntityDeclHandler(parser.get(), on_entity);
    XML_SetProcessingInstructionHandler(parser.get(), on_instruction);
    constexpr std::size_t piece_bytes = 1 << 20;
    for (std::size_t start = 0;; start += piece_bytes) {
        std::string_view piece = xml.substr(std::min(start, xml.size()), piece_bytes);
        bool is_last = start + piece_bytes >= xml.size();
        XML_Status status = XML_Parse(parser.get(), piece.data(), static_cast<int>(piece.size()), is_last);
        if (walk.failure) std::rethrow_exception(walk.failure);
        if (status != XML_STATUS_OK)
            refuse_graph("PE-BUNDLE-030", origin, std::string("broken XML (") + XML_ErrorString(XML_GetErrorCode(parser.get())) + ")",
                         "a whole graph");
        if (is_last) return;
    }
}

}  // namespace

bool is_ir(std::string_view graph) { return graph.substr(0, ir_mark.size()) == ir_mark; }

IrParts unpack_ir(std::string_view graph, const std::string& origin) {
    std::size_t start = ir_mark.size() + length_bytes;
    std::uint64_t length = 0;
    if (graph.size() >= start)
        for (std::size_t index = 0; index < length_bytes; ++index)
            length |= static_cast<std::uint64_t>(static_cast<unsigned char>(graph[ir_mark.size() + index])) << (8 * index);
    if (graph.size() < start || length > graph.size() - start)
        refuse_graph("PE-BUNDLE-030", origin, "no whole graph in it", "XML and constants of the stated length");
    return {graph.substr(start, static_cast<std::size_t>(length)), graph.substr(start + static_cast<std::size_t>(length))};
}

void check_ir(std::string_view graph, const std::string& origin) {
    IrParts parts = unpack_ir(graph, origin);
    Walk walk(origin, parts.weights.size());
    walk_through(walk, parts.xml, origin);
    if (walk.layers == 0) refuse_graph("PE-BUNDLE-030", origin, "no layer", "a graph");
}

}  // namespace physedge
