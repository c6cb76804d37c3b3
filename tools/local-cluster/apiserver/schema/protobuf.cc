#include "local-cluster/apiserver/schema/protobuf.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "common/kube/object.h"
#include "local-cluster/apiserver/schema/builtin.h"
#include "local-cluster/apiserver/schema/errors.h"
#include "local-cluster/apiserver/schema/json_edit.h"

namespace local_cluster {
namespace {

using boost::json::object;
using boost::json::value;

constexpr int kDepthMax = 100;

absl::Status Malformed() { return BadRequestError("the protobuf body is malformed"); }

// One field of a message: a number or bytes.
struct Field {
  int number = 0;
  bool is_bytes = false;
  uint64_t integer = 0;
  std::string_view bytes;
};

bool TakeVarint(std::string_view& rest, uint64_t& result) {
  result = 0;
  for (unsigned shift = 0; shift < 64 && !rest.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    result |= static_cast<uint64_t>(byte & 127U) << shift;
    if (byte < 128) return true;
  }
  return false;
}

absl::StatusOr<std::vector<Field>> Fields(std::string_view rest) {
  std::vector<Field> fields;
  while (!rest.empty()) {
    uint64_t tag = 0;
    Field field;
    if (!TakeVarint(rest, tag) || tag >> 3U == 0 || tag >> 3U > 1U << 29U) return Malformed();
    field.number = static_cast<int>(tag >> 3U);
    const uint64_t wire = tag & 7U;
    uint64_t size = wire == 1 ? 8 : wire == 5 ? 4 : 0;
    if (wire == 0) {
      if (!TakeVarint(rest, field.integer)) return Malformed();
    } else if (wire == 2) {
      if (!TakeVarint(rest, size)) return Malformed();
      field.is_bytes = true;
    } else if (size == 0) {
      return Malformed();
    }
    if (size > rest.size()) return Malformed();
    field.bytes = rest.substr(0, size);
    if (wire == 1) std::memcpy(&field.integer, rest.data(), 8);
    rest.remove_prefix(size);
    fields.push_back(field);
  }
  return fields;
}

class Decoder {
 public:
  absl::Status Message(std::string_view bytes, const Schema& schema, std::vector<int> prefix,
                       object& into) {
    if (++depth_ > kDepthMax) return Malformed();
    ASSIGN_OR_RETURN(const std::vector<Field> fields, Fields(bytes));
    for (const Field& field : fields) {
      std::vector<int> path = prefix;
      path.push_back(field.number);
      const auto exact = std::ranges::find(schema.properties, path, &Property::proto);
      if (exact != schema.properties.end()) {
        RETURN_IF_ERROR(Member(field, *exact, into));
        continue;
      }
      const bool embedded = std::ranges::any_of(schema.properties, [&path](const Property& one) {
        return one.proto.size() > path.size() &&
               std::equal(path.begin(), path.end(), one.proto.begin());
      });
      if (embedded && field.is_bytes) RETURN_IF_ERROR(Message(field.bytes, schema, path, into));
    }
    --depth_;
    return absl::OkStatus();
  }

 private:
  absl::Status Member(const Field& field, const Property& property, object& into) {
    const Schema& schema = *property.schema;
    if (schema.type == SchemaType::kArray) {
      ASSIGN_OR_RETURN(value element, Single(field, *schema.items));
      value& list = into[property.name];
      if (!list.is_array()) list = boost::json::array();
      list.get_array().push_back(std::move(element));
      return absl::OkStatus();
    }
    if (schema.additional != nullptr) {
      return MapEntry(field, *schema.additional, MakeObject(into, property.name));
    }
    ASSIGN_OR_RETURN(value single, Single(field, schema));
    // Go writes empty texts that JSON leaves out.
    if (single.is_null() || (single.is_string() && single.get_string().empty())) {
      return absl::OkStatus();
    }
    into[property.name] = std::move(single);
    return absl::OkStatus();
  }

  absl::Status MapEntry(const Field& field, const Schema& schema, object& map) {
    if (!field.is_bytes) return Malformed();
    ASSIGN_OR_RETURN(const std::vector<Field> entry, Fields(field.bytes));
    std::string_view key;
    value content = schema.type == SchemaType::kString ? value("") : value();
    for (const Field& part : entry) {
      if (part.number == 1) key = part.bytes;
      if (part.number == 2) {
        ASSIGN_OR_RETURN(content, Single(part, schema));
      }
    }
    map[key] = std::move(content);
    return absl::OkStatus();
  }

  absl::StatusOr<value> Single(const Field& field, const Schema& schema) {
    const std::string text(field.bytes);
    switch (schema.type) {
      case SchemaType::kBoolean:
        return value(field.integer != 0);
      case SchemaType::kInteger:
        return value(static_cast<int64_t>(field.integer));
      case SchemaType::kNumber: {
        double number = 0;
        std::memcpy(&number, &field.integer, sizeof(number));
        return value(number);
      }
      case SchemaType::kString:
        if (!field.is_bytes) return Malformed();
        if (schema.format == "byte") return JsonText(absl::Base64Escape(text));
        if (schema.format == "date-time" || schema.format == "micro-time") return Time(field);
        return JsonText(text);
      case SchemaType::kObject: {
        if (!field.is_bytes) return Malformed();
        object inner;
        RETURN_IF_ERROR(Message(field.bytes, schema, {}, inner));
        return value(std::move(inner));
      }
      default:
        return Wrapped(field, schema);
    }
  }

  static absl::StatusOr<value> Time(const Field& field) {
    ASSIGN_OR_RETURN(const std::vector<Field> parts, Fields(field.bytes));
    for (const Field& part : parts) {
      if (part.number == 1) {
        return JsonText(
            kube::FormatTime(absl::FromUnixSeconds(static_cast<int64_t>(part.integer))));
      }
    }
    return value();
  }

  // Quantity {1 text}, IntOrString {1 type, 2 int, 3 text}, raw JSON {1 bytes}.
  static absl::StatusOr<value> Wrapped(const Field& field, const Schema& schema) {
    if (!field.is_bytes) return Malformed();
    ASSIGN_OR_RETURN(const std::vector<Field> parts, Fields(field.bytes));
    value result;
    bool text = false;
    for (const Field& part : parts) {
      if (schema.type == SchemaType::kIntOrString) {
        if (part.number == 1) text = part.integer != 0;
        if (part.number == 2 && !text) result = static_cast<int64_t>(part.integer);
        if (part.number == 3 && text) result = JsonText(part.bytes);
      } else if (part.number == 1 && schema.type == SchemaType::kQuantity) {
        result = JsonText(part.bytes);
      } else if (part.number == 1) {
        ASSIGN_OR_RETURN(result, kube::ParseJson(part.bytes));
      }
    }
    return result;
  }

  int depth_ = 0;
};

}  // namespace

absl::StatusOr<value> DecodeProtobuf(std::string_view body) {
  constexpr std::string_view kMagic("k8s\0", 4);
  if (!body.starts_with(kMagic)) return Malformed();
  ASSIGN_OR_RETURN(const std::vector<Field> unknown, Fields(body.substr(kMagic.size())));
  std::string_view raw, api_version, kind;
  for (const Field& field : unknown) {
    if (field.number == 2) raw = field.bytes;
    if (field.number != 1) continue;
    ASSIGN_OR_RETURN(const std::vector<Field> type, Fields(field.bytes));
    for (const Field& part : type) (part.number == 1 ? api_version : kind) = part.bytes;
  }
  const size_t slash = api_version.find('/');
  const bool core = slash == std::string_view::npos;
  const Schema* schema =
      kind == "DeleteOptions"
          ? BuiltinKind("", "v1", kind)
          : BuiltinKind(core ? "" : api_version.substr(0, slash),
                        core ? api_version : api_version.substr(slash + 1), kind);
  if (schema == nullptr) {
    return UnsupportedMediaTypeError(
        absl::StrFormat("protobuf is not supported for kind %s of %s", kind, api_version));
  }
  object result{{"apiVersion", api_version}, {"kind", kind}};
  RETURN_IF_ERROR(Decoder().Message(raw, *schema, {}, result));
  return value(std::move(result));
}

}  // namespace local_cluster
