// Command-line flags of a process. Defined and read in main.cc alone; libraries take options.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace base {

// Flags by name, each bound to a variable that holds the default before parsing.
//
// `--name value`, `--name=value`, `--flag`, `--no-flag`; dashes and underscores in names are the
// same, a single leading dash works too. `--` ends the flags. Every error names the flag, and the
// nearest known one where a name is unknown.
class FlagSet {
 public:
  // `program` and `purpose` (one sentence) head the help text.
  FlagSet(std::string program, std::string purpose);

  // `target` must outlive the set.
  void Add(const std::string& name, std::string* target, std::string help);
  void Add(const std::string& name, int* target, std::string help);
  void Add(const std::string& name, int64_t* target, std::string help);
  void Add(const std::string& name, double* target, std::string help);
  void Add(const std::string& name, bool* target, std::string help);
  void Add(const std::string& name, absl::Duration* target, std::string help);  // 30s, 5m, 250ms
  void Add(const std::string& name, std::vector<std::string>* target,
           std::string help);  // a,b; repeatable

  // One more line under "Examples" of the help text.
  void AddExample(std::string command);

  // Accepted and dropped, with the names given to `ignored` after parsing: flags of the programs we
  // replace.
  void AddIgnored(const std::string& name);

  // Sets one flag from text, as a configuration file does.
  absl::Status Set(std::string_view name, std::string_view value);

  // Returns the arguments that are not flags. kInvalidArgument on anything wrong.
  absl::StatusOr<std::vector<std::string>> Parse(const std::vector<std::string>& arguments);

  // For main(): as Parse(); prints help (exit 0), `version` (exit 0) or an error (exit 2).
  std::vector<std::string> ParseOrExit(int argc, char** argv, std::string_view version);

  std::string Help() const;

  // name → value now, for the line that a process prints at its start.
  std::map<std::string, std::string> Values() const;

  const std::vector<std::string>& ignored() const { return ignored_; }

 private:
  struct Flag {
    std::string help;
    std::string default_text;
    bool is_bool = false;
    std::function<bool(std::string_view)> set;
    std::function<std::string()> get;
    std::string expects;  // "a number", for errors.
  };

  void AddFlag(const std::string& name, Flag flag);
  const Flag* Find(std::string_view name) const;
  absl::Status UnknownFlag(std::string_view name) const;

  std::string program_;
  std::string purpose_;
  std::vector<std::string> examples_;
  std::map<std::string, Flag> flags_;
  std::vector<std::string> accepted_without_effect_;
  std::vector<std::string> ignored_;
};

// The entry of `names` nearest to `name` by edit distance, or "" when none is near enough to help.
std::string NearestName(std::string_view name, const std::vector<std::string>& names);

}  // namespace base
