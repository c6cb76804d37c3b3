#include "local-cluster/apiserver/schema/normalize.h"

#include <limits>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "local-cluster/apiserver/schema/builtin.h"
#include "local-cluster/apiserver/schema/errors.h"

namespace local_cluster {
namespace {

std::string_view View(const boost::json::string& text) { return {text.data(), text.size()}; }

bool IsObjectHeader(std::string_view name) {
  return name == "apiVersion" || name == "kind" || name == "metadata";
}

void PruneMembers(boost::json::object& object, const Schema& schema, const std::string& path,
                  std::vector<std::string>& unknown) {
  std::vector<std::string> gone;
  for (auto& member : object) {
    const std::string_view name(member.key().data(), member.key().size());
    if (schema.embedded_resource && IsObjectHeader(name)) {
      if (name == "metadata") {
        Prune(member.value(), ObjectMetaSchema(), FieldPath(path, name), unknown);
      }
    } else if (const Property* property = schema.Find(name)) {
      Prune(member.value(), *property->schema, FieldPath(path, name), unknown);
    } else if (schema.additional != nullptr) {
      Prune(member.value(), *schema.additional, FieldPath(path, name), unknown);
    } else if (!schema.preserve_unknown) {
      gone.emplace_back(name);
    }
  }
  for (const std::string& name : gone) {
    unknown.push_back(FieldPath(path, name));
    object.erase(name);
  }
}

std::string_view JsonKind(const boost::json::value& value) {
  if (value.is_object()) return "object";
  if (value.is_array()) return "array";
  if (value.is_string()) return "string";
  if (value.is_bool()) return "bool";
  return "number";
}

absl::Status WrongType(const boost::json::value& value, std::string_view kind,
                       const std::string& path, std::string_view type) {
  return BadRequestError(
      absl::StrFormat("%s in version cannot be handled as a %s: json: cannot unmarshal %s into Go "
                      "struct field %s.%s of type %s",
                      kind, kind, JsonKind(value), kind, path, type));
}

absl::Status DecodeMembers(boost::json::object& object, const Schema& schema, std::string_view kind,
                           const std::string& path) {
  std::vector<std::string> nulls;
  for (auto& member : object) {
    const std::string_view name(member.key().data(), member.key().size());
    if (member.value().is_null()) {
      nulls.emplace_back(name);
      continue;
    }
    const Property* property = schema.Find(name);
    const Schema* inner = property != nullptr ? property->schema : schema.additional;
    if (inner != nullptr) {
      RETURN_IF_ERROR(Decode(member.value(), *inner, kind, FieldPath(path, name)));
    }
  }
  for (const std::string& name : nulls) object.erase(name);
  return absl::OkStatus();
}

bool FitsInteger(const boost::json::value& value, std::string_view format) {
  if (value.is_uint64()) return false;
  if (!value.is_int64()) return false;
  return format != "int32" || (value.get_int64() >= std::numeric_limits<int32_t>::min() &&
                               value.get_int64() <= std::numeric_limits<int32_t>::max());
}

// 3.0 is an integer to Go's JSON decoder of Kubernetes.
void WholeNumberToInteger(boost::json::value& value) {
  if (!value.is_double()) return;
  const double number = value.get_double();
  if (number >= -9e15 && number <= 9e15 &&
      number == static_cast<double>(static_cast<int64_t>(number))) {
    value = static_cast<int64_t>(number);
  }
}

}  // namespace

std::string FieldPath(std::string_view parent, std::string_view name) {
  if (parent.empty()) return std::string(name);
  return absl::StrFormat("%s.%s", parent, name);
}

std::string FieldPath(std::string_view parent, size_t index) {
  return absl::StrFormat("%s[%d]", parent, index);
}

void Prune(boost::json::value& value, const Schema& schema, const std::string& path,
           std::vector<std::string>& unknown) {
  if (schema.type == SchemaType::kAny) return;
  if (value.is_object()) {
    if (schema.type == SchemaType::kObject) {
      PruneMembers(value.get_object(), schema, path, unknown);
    }
  } else if (value.is_array() && schema.items != nullptr) {
    boost::json::array& array = value.get_array();
    for (size_t i = 0; i < array.size(); ++i) {
      Prune(array[i], *schema.items, FieldPath(path, i), unknown);
    }
  }
}

void ApplyDefaults(boost::json::value& value, const Schema& schema) {
  if (value.is_object()) {
    boost::json::object& object = value.get_object();
    for (const Property& property : schema.properties) {
      boost::json::value* member = object.if_contains(property.name);
      if (property.default_value != nullptr &&
          (member == nullptr || (member->is_null() && !property.schema->nullable))) {
        object[property.name] = *property.default_value;
        member = object.if_contains(property.name);
      }
      if (member != nullptr) ApplyDefaults(*member, *property.schema);
    }
    if (schema.additional == nullptr) return;
    for (auto& member : object) ApplyDefaults(member.value(), *schema.additional);
  } else if (value.is_array() && schema.items != nullptr) {
    for (boost::json::value& element : value.get_array()) ApplyDefaults(element, *schema.items);
  }
}

absl::Status Decode(boost::json::value& value, const Schema& schema, std::string_view kind,
                    const std::string& path) {
  switch (schema.type) {
    case SchemaType::kAny:
      return absl::OkStatus();
    case SchemaType::kObject:
      if (!value.is_object()) {
        const size_t dot = schema.type_name.rfind('.');
        return WrongType(value, kind, path,
                         schema.type_name.empty()
                             ? "map[string]string"
                             : std::string_view(schema.type_name).substr(dot + 1));
      }
      return DecodeMembers(value.get_object(), schema, kind, path);
    case SchemaType::kArray: {
      if (!value.is_array()) return WrongType(value, kind, path, "[]");
      boost::json::array& array = value.get_array();
      for (size_t i = 0; i < array.size(); ++i) {
        RETURN_IF_ERROR(Decode(array[i], *schema.items, kind, FieldPath(path, i)));
      }
      return absl::OkStatus();
    }
    case SchemaType::kString:
      if (!value.is_string()) return WrongType(value, kind, path, "string");
      return absl::OkStatus();
    case SchemaType::kInteger:
      WholeNumberToInteger(value);
      if (!FitsInteger(value, schema.format)) return WrongType(value, kind, path, schema.format);
      return absl::OkStatus();
    case SchemaType::kNumber:
      if (!value.is_number()) return WrongType(value, kind, path, "float64");
      return absl::OkStatus();
    case SchemaType::kBoolean:
      if (!value.is_bool()) return WrongType(value, kind, path, "bool");
      return absl::OkStatus();
    case SchemaType::kIntOrString:
      if (!value.is_string() && !value.is_int64()) {
        return WrongType(value, kind, path, "intstr.IntOrString");
      }
      return absl::OkStatus();
    case SchemaType::kQuantity:
      if (value.is_number()) value = boost::json::serialize(value);
      if (!value.is_string()) return WrongType(value, kind, path, "resource.Quantity");
      if (View(value.get_string()).empty()) {
        return BadRequestError(absl::StrFormat(
            "%s in version cannot be handled as a %s: quantities must match the regular expression",
            kind, kind));
      }
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace local_cluster
