#include "local-cluster/apiserver/schema/builtin.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include <zlib.h>

#include "boost/json.hpp"
#include "common/base/check.h"

// The files of kinds/ as read-only data.
#define INCLUDE_FILE(symbol, path)                                                  \
  __asm__(                                                                          \
      ".pushsection .rodata\n"                                                      \
      ".global " #symbol                                                            \
      "_begin\n"                                                                    \
      ".global " #symbol "_end\n" #symbol "_begin:\n.incbin \"" path "\"\n" #symbol \
      "_end:\n.byte 0\n.popsection\n")

INCLUDE_FILE(local_cluster_schema, KINDS_FOLDER "/schema.txt");
INCLUDE_FILE(local_cluster_descriptions, KINDS_FOLDER "/descriptions.txt.gz");

extern const char local_cluster_schema_begin[];
extern const char local_cluster_schema_end[];
extern const char local_cluster_descriptions_begin[];
extern const char local_cluster_descriptions_end[];

namespace local_cluster {
namespace {

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

class Builtins {
 public:
  Builtins() {
    const std::string_view text(local_cluster_schema_begin,
                                local_cluster_schema_end - local_cluster_schema_begin);
    Schema* current = nullptr;
    for (const std::string_view line : Split(text, '\n')) {
      const std::vector<std::string_view> words = Split(line, '\t');
      if (words.size() < 2) continue;
      if (words[0] == "@") {
        current = BeginType(words);
      } else {
        AddField(*current, words);
      }
    }
    for (auto& [name, schema] : types_) {
      std::ranges::sort(schema->properties, {}, &Property::name);
    }
  }

  const Schema* Type(std::string_view name) const {
    const auto found = types_.find(name);
    return found == types_.end() ? nullptr : found->second;
  }
  const Schema* Kind(const std::string& path) const {
    const auto found = kinds_.find(path);
    return found == kinds_.end() ? nullptr : found->second;
  }
  const SchemaArena& arena() const { return arena_; }

 private:
  Schema* Named(std::string_view name) {
    auto [found, added] = types_.try_emplace(std::string(name), nullptr);
    if (added) {
      Schema& schema = arena_.emplace_back();
      schema.type = SchemaType::kObject;
      schema.type_name = name;
      found->second = &schema;
    }
    return found->second;
  }

  Schema* BeginType(const std::vector<std::string_view>& words) {
    Schema* schema = Named(words[1]);
    for (size_t i = 2; i < words.size(); ++i) {
      if (words[i] == "map=atomic") {
        schema->map_atomic = true;
      } else {
        kinds_[std::string(words[i])] = schema;
      }
    }
    return schema;
  }

  const Schema* Scalar(std::string_view name) {
    static constexpr struct {
      std::string_view name;
      SchemaType type;
      std::string_view format;
    } kScalars[] = {
        {"string", SchemaType::kString, ""},
        {"int32", SchemaType::kInteger, "int32"},
        {"int64", SchemaType::kInteger, "int64"},
        {"double", SchemaType::kNumber, "double"},
        {"bool", SchemaType::kBoolean, ""},
        {"bytes", SchemaType::kString, "byte"},
        {"time", SchemaType::kString, "date-time"},
        {"microtime", SchemaType::kString, "micro-time"},
        {"quantity", SchemaType::kQuantity, "quantity"},
        {"intorstring", SchemaType::kIntOrString, "int-or-string"},
        {"object", SchemaType::kAny, "object"},
        {"raw", SchemaType::kAny, "raw"},
        {"json", SchemaType::kAny, "json"},
        {"any", SchemaType::kAny, ""},
    };
    for (const auto& scalar : kScalars) {
      if (scalar.name != name) continue;
      auto [found, added] = scalars_.try_emplace(std::string(name), nullptr);
      if (added) {
        Schema& schema = arena_.emplace_back();
        schema.type = scalar.type;
        schema.format = scalar.format;
        schema.preserve_unknown = scalar.type == SchemaType::kAny;
        found->second = &schema;
      }
      return found->second;
    }
    return Named(name);
  }

  // Arrays are made per field: how they merge belongs to the field.
  Schema* Array(std::string_view element) {
    Schema& schema = arena_.emplace_back();
    schema.type = SchemaType::kArray;
    schema.items = TypeOf(element);
    return &schema;
  }

  const Schema* TypeOf(std::string_view text) {
    if (text.starts_with("[]")) return Array(text.substr(2));
    if (!text.starts_with("{}")) return Scalar(text);
    const Schema* value = TypeOf(text.substr(2));
    Schema& schema = arena_.emplace_back();
    schema.type = SchemaType::kObject;
    schema.additional = value;
    return &schema;
  }

  static std::vector<int> Numbers(std::string_view text) {
    std::vector<int> numbers;
    for (const std::string_view part : Split(text, '.')) {
      int number = 0;
      std::from_chars(part.data(), part.data() + part.size(), number);
      if (number > 0) numbers.push_back(number);
    }
    return numbers;
  }

  void AddField(Schema& owner, const std::vector<std::string_view>& words) {
    Property property;
    property.name = words[0];
    property.proto = Numbers(words[1]);
    Schema* array = words[2].starts_with("[]") ? Array(words[2].substr(2)) : nullptr;
    property.schema = array != nullptr ? array : TypeOf(words[2]);
    for (size_t i = 3; i < words.size(); ++i) AddFlag(property, array, words[i]);
    owner.properties.push_back(std::move(property));
  }

  static void AddFlag(Property& property, Schema* array, std::string_view flag) {
    const size_t equals = flag.find('=');
    const std::string_view name = flag.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : flag.substr(equals + 1);
    if (name == "!") {
      property.required = true;
    } else if (name == "merge") {
      property.merge_key = value;
    } else if (name == "strategy") {
      property.merge_list = value.find("merge") != std::string_view::npos;
      property.retain_keys = value.find("retainKeys") != std::string_view::npos;
    } else if (name == "map") {
      property.map_atomic = value == "atomic";
    } else if (name == "default") {
      property.default_value =
          std::make_shared<const boost::json::value>(boost::json::parse(std::string(value)));
    } else if (name == "list" && array != nullptr && value == "set") {
      array->list_type = ListType::kSet;
    } else if (name == "list" && array != nullptr && value.starts_with("map:")) {
      array->list_type = ListType::kMap;
      for (const std::string_view key : Split(value.substr(4), ',')) {
        array->list_map_keys.emplace_back(key);
      }
    }
  }

  SchemaArena arena_;
  std::map<std::string, Schema*, std::less<>> types_;
  std::map<std::string, const Schema*> scalars_;
  std::map<std::string, const Schema*> kinds_;  // "group/version/Kind"
};

const Builtins& AllBuiltins() {
  static const Builtins* const builtins = new Builtins();
  return *builtins;
}

}  // namespace

const Schema* BuiltinType(std::string_view type_name) { return AllBuiltins().Type(type_name); }

const Schema* BuiltinKind(std::string_view group, std::string_view version, std::string_view kind) {
  std::string path(group);
  path.append("/").append(version).append("/").append(kind);
  return AllBuiltins().Kind(path);
}

const Schema& ObjectMetaSchema() {
  static const Schema* const schema =
      BuiltinType("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
  return *schema;
}

const SchemaArena& BuiltinTypes() { return AllBuiltins().arena(); }

Descriptions::Descriptions() {
  const std::string_view packed(local_cluster_descriptions_begin,
                                local_cluster_descriptions_end - local_cluster_descriptions_begin);
  // gzip ends with the size of what it holds.
  uint32_t size = 0;
  for (int i = 4; i >= 1; --i) {
    size = size << 8U | static_cast<unsigned char>(packed[packed.size() - 5 + i]);
  }
  text_.resize(size);
  z_stream stream{};
  CHECK(inflateInit2(&stream, 15 + 16) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(text_.data());
  stream.avail_out = size;
  const int result = inflate(&stream, Z_FINISH);
  inflateEnd(&stream);
  CHECK(result == Z_STREAM_END);
  for (const std::string_view line : Split(text_, '\n')) {
    const size_t tab = line.find('\t');
    if (tab != std::string_view::npos) by_key_[line.substr(0, tab)] = line.substr(tab + 1);
  }
}

std::string_view Descriptions::Find(std::string_view key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? std::string_view() : found->second;
}

}  // namespace local_cluster
