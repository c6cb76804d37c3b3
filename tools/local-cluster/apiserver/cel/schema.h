// What objects of a kind look like: one form for the built-in kinds and for those of CRDs.

#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

namespace local_cluster {

struct Schema;

class Regex;
namespace cel {
class Program;
}

enum class SchemaType : uint8_t {
  kAny,  // Nothing is known: kept as it is.
  kObject,
  kArray,
  kString,
  kInteger,
  kNumber,
  kBoolean,
  kIntOrString,
  kQuantity,  // A string; a number is taken for one.
};

enum class ListType : uint8_t { kAtomic, kSet, kMap };

struct Property {
  std::string name;
  const Schema* schema = nullptr;
  bool required = false;
  std::shared_ptr<const boost::json::value> default_value;
  std::vector<int> proto;    // Field numbers, through embedded messages. Empty: none.
  std::string merge_key;     // Strategic merge: of a list that merges.
  bool merge_list = false;   // Strategic merge: elements merge (by merge_key, or as a set).
  bool retain_keys = false;  // Strategic merge: $retainKeys is understood.
  bool map_atomic = false;   // Server-side apply: the object is one value.
};

// What only CRDs have.
struct Constraints {
  std::optional<double> minimum, maximum;
  bool exclusive_minimum = false, exclusive_maximum = false;
  std::optional<double> multiple_of;
  std::optional<int64_t> length_min, length_max, items_min, items_max, properties_min,
      properties_max;
  std::string pattern_text;
  std::shared_ptr<const Regex> pattern;
  std::vector<boost::json::value> enumeration;
  bool unique_items = false;
  // Value checks only: they hold no structure.
  std::vector<const Schema*> all_of, any_of, one_of;
  const Schema* not_schema = nullptr;

  struct Rule {
    std::shared_ptr<const cel::Program> program;
    std::string rule, message;
    std::shared_ptr<const cel::Program> message_program;
    std::string reason;      // "FieldValueInvalid" …
    std::string field_path;  // ".spec.x"; "" for the value itself.
    bool uses_old = false;   // A transition rule: only where there was a value before.
  };
  std::vector<Rule> rules;

  ~Constraints();
};

struct Schema {
  SchemaType type = SchemaType::kAny;
  std::string format;                  // "int32", "int64", "date-time", "byte", "quantity", …
  std::string type_name;               // Built-in kinds: "io.k8s.api.core.v1.PodSpec".
  std::vector<Property> properties;    // Sorted by name.
  const Schema* items = nullptr;       // Of arrays.
  const Schema* additional = nullptr;  // Values of maps.
  ListType list_type = ListType::kAtomic;
  std::vector<std::string> list_map_keys;
  bool map_atomic = false;
  bool nullable = false;
  bool preserve_unknown = false;
  bool embedded_resource = false;
  std::unique_ptr<Constraints> constraints;

  const Property* Find(std::string_view name) const;
};

// Owns schemas that point at each other. Addresses stay.
using SchemaArena = std::deque<Schema>;

}  // namespace local_cluster
