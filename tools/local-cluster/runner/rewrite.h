// Makes words that were written for a container mean the same on this machine.

#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace local_cluster {

// "$(NAME)" becomes the variable's value, "$$" one "$"; unknown names stay as they are, as in
// Kubernetes.
std::string ExpandVariables(std::string_view text,
                            const std::map<std::string, std::string, std::less<>>& variables);

// A path in the container and where it lies here.
struct PathMapping {
  std::string container_path;
  std::string host_path;
};

// Replaces container paths where they begin a word: at the start of `text` or after a blank, quote
// or one of "=:,;(<>", and only as whole path components. Longer paths win.
std::string RewritePaths(std::string_view text, const std::vector<PathMapping>& mappings);

// Replaces cluster DNS names, "….svc" and "….svc.cluster.local", by what `resolve` gives for them
// (called with the part before ".svc"). Names it does not know stay.
std::string RewriteClusterNames(
    std::string_view text,
    const std::function<std::optional<std::string>(std::string_view name)>& resolve);

}  // namespace local_cluster
