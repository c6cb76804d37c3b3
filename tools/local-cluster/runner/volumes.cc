#include "local-cluster/runner/volumes.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <set>

#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

constexpr std::string_view kDataLink = "..data";

const json::array& ArrayAt(const json::value& value, std::string_view member) {
  static const json::array kEmpty;
  const json::value* found = kube::FindPath(value, {member});
  return found != nullptr && found->is_array() ? found->get_array() : kEmpty;
}

bool StaysInside(std::string_view path) {
  if (path.empty() || path.starts_with('/')) return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    if (path.substr(begin, end - begin) == "..") return false;
    begin = end + 1;
  }
  return true;
}

class FileCollector {
 public:
  FileCollector(const kube::Object& pod, const PodSources& sources)
      : pod_(pod), sources_(sources) {}

  // `source`: a configMap or secret source, whose name member differs between volumes and
  // projections.
  absl::Status AddObject(const json::value& source, bool is_secret, unsigned default_mode) {
    std::string_view name = kube::StringAt(source, {"name"});
    if (is_secret && name.empty()) name = kube::StringAt(source, {"secretName"});
    const bool optional = kube::BoolAt(source, {"optional"});
    const absl::StatusOr<kube::Object> object =
        is_secret ? sources_.secret(name) : sources_.config_map(name);
    if (absl::IsNotFound(object.status())) {
      if (optional) return absl::OkStatus();
      return absl::NotFoundError(
          absl::StrFormat("%s \"%s\" not found", is_secret ? "secret" : "configmap", name));
    }
    RETURN_IF_ERROR(object.status());
    const json::array& items = ArrayAt(source, "items");
    if (items.empty()) return AddAllKeys(*object, is_secret, default_mode);
    for (const json::value& item : items) {
      const std::string_view key = kube::StringAt(item, {"key"});
      ASSIGN_OR_RETURN(std::optional<std::string> content, DataOf(*object, key));
      if (!content && optional) continue;
      if (!content) {
        return absl::NotFoundError(absl::StrFormat("references non-existent %s key: %s",
                                                   is_secret ? "secret" : "config", key));
      }
      RETURN_IF_ERROR(AddFile(kube::StringAt(item, {"path"}), std::move(*content),
                              static_cast<unsigned>(kube::IntAt(item, {"mode"}, default_mode))));
    }
    return absl::OkStatus();
  }

  absl::Status AddDownward(const json::value& source, unsigned default_mode) {
    for (const json::value& item : ArrayAt(source, "items")) {
      std::string text;
      if (const json::value* resource = kube::FindPath(item, {"resourceFieldRef"})) {
        ASSIGN_OR_RETURN(text, ResourceText(pod_, "", *resource, sources_));
      } else {
        ASSIGN_OR_RETURN(
            text, FieldText(pod_, kube::StringAt(item, {"fieldRef", "fieldPath"}), sources_));
      }
      RETURN_IF_ERROR(AddFile(kube::StringAt(item, {"path"}), std::move(text),
                              static_cast<unsigned>(kube::IntAt(item, {"mode"}, default_mode))));
    }
    return absl::OkStatus();
  }

  absl::Status AddToken(const json::value& source) {
    if (!sources_.token) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::string token,
                     sources_.token(kube::StringAt(source, {"audience"}),
                                    kube::IntAt(source, {"expirationSeconds"}, 3600)));
    return AddFile(kube::StringAt(source, {"path"}), std::move(token), 0600);
  }

  VolumeFiles Take() { return std::move(files_); }

 private:
  absl::Status AddAllKeys(const kube::Object& object, bool is_secret, unsigned mode) {
    for (const std::string_view section : {"data", "binaryData"}) {
      const json::value* data = object.Find({section});
      if (data == nullptr || !data->is_object() || (is_secret && section == "binaryData")) continue;
      for (const auto& entry : data->get_object()) {
        const std::string key(entry.key());
        ASSIGN_OR_RETURN(std::optional<std::string> content, DataOf(object, key));
        if (content) RETURN_IF_ERROR(AddFile(key, std::move(*content), mode));
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddFile(std::string_view path, std::string content, unsigned mode) {
    if (!StaysInside(path)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("the path %s does not stay inside its volume", path));
    }
    files_[std::string(path)] = {std::move(content), mode & 0777U};
    return absl::OkStatus();
  }

  const kube::Object& pod_;
  const PodSources& sources_;
  VolumeFiles files_;
};

absl::Status AddProjection(const json::value& source, unsigned mode, FileCollector& files) {
  if (const json::value* map = kube::FindPath(source, {"configMap"})) {
    return files.AddObject(*map, false, mode);
  }
  if (const json::value* secret = kube::FindPath(source, {"secret"})) {
    return files.AddObject(*secret, true, mode);
  }
  if (const json::value* downward = kube::FindPath(source, {"downwardAPI"})) {
    return files.AddDownward(*downward, mode);
  }
  if (const json::value* token = kube::FindPath(source, {"serviceAccountToken"})) {
    return files.AddToken(*token);
  }
  return absl::OkStatus();
}

bool HasContent(const json::value& volume) {
  return std::ranges::any_of(
      std::initializer_list<std::string_view>{"configMap", "secret", "projected", "downwardAPI"},
      [&](std::string_view kind) { return kube::FindPath(volume, {kind}) != nullptr; });
}

absl::Status WriteFile(const std::string& path, const VolumeFile& file) {
  const size_t slash = path.rfind('/');
  RETURN_IF_ERROR(base::CreateDirectories(path.substr(0, slash), 0755));
  std::ofstream out(path, std::ios::binary);  // Not visible before the link: need not be atomic.
  out << file.content;
  out.close();
  if (!out || chmod(path.c_str(), file.mode) != 0) {
    return base::ErrnoStatus(errno, absl::StrFormat("write %s", path));
  }
  return absl::OkStatus();
}

bool IsUpToDate(const std::string& folder, const VolumeFiles& files) {
  for (const auto& [path, file] : files) {
    const absl::StatusOr<std::string> content = base::ReadFile(folder + "/" + path);
    if (!content.ok() || *content != file.content) return false;
  }
  const absl::StatusOr<std::vector<std::string>> entries = base::ListDirectory(folder);
  std::set<std::string> wanted;
  for (const auto& [path, file] : files) wanted.insert(path.substr(0, path.find('/')));
  return entries.ok() && entries->size() == wanted.size();
}

absl::Status Link(const std::string& target, const std::string& path) {
  const std::string aside = path + "_tmp";
  unlink(aside.c_str());
  if (symlink(target.c_str(), aside.c_str()) != 0 || rename(aside.c_str(), path.c_str()) != 0) {
    return base::ErrnoStatus(errno, absl::StrFormat("link %s", path));
  }
  return absl::OkStatus();
}

// "FOLDER/name" → "..data/name" → "..TIME/name", as kubelet lays it out: swapping the middle link
// changes all files at once.
absl::Status WriteContent(const std::string& folder, const VolumeFiles& files) {
  RETURN_IF_ERROR(base::CreateDirectories(folder, 0755));
  const std::string data = absl::StrFormat("%s/%s", folder, kDataLink);
  if (base::FileExists(data) && IsUpToDate(data, files)) return absl::OkStatus();
  const std::string version = absl::StrFormat("..%d", absl::ToUnixNanos(absl::Now()));
  const std::string version_folder = folder + "/" + version;
  RETURN_IF_ERROR(base::CreateDirectories(version_folder, 0755));
  std::set<std::string> names;
  for (const auto& [path, file] : files) {
    RETURN_IF_ERROR(WriteFile(version_folder + "/" + path, file));
    names.insert(path.substr(0, path.find('/')));
  }
  RETURN_IF_ERROR(Link(version, data));
  ASSIGN_OR_RETURN(const std::vector<std::string> entries, base::ListDirectory(folder));
  for (const std::string& entry : entries) {
    const bool old_version = entry.starts_with("..") && entry != kDataLink && entry != version;
    if (old_version || (!entry.starts_with("..") && !names.contains(entry))) {
      RETURN_IF_ERROR(base::RemoveAll(folder + "/" + entry));
    }
  }
  for (const std::string& name : names) {
    struct stat info{};
    const std::string path = folder + "/" + name;
    if (lstat(path.c_str(), &info) == 0) continue;
    RETURN_IF_ERROR(Link(absl::StrFormat("%s/%s", kDataLink, name), path));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> HostPath(const json::value& source, const VolumeOptions& options) {
  const std::string path(kube::StringAt(source, {"path"}));
  const std::string type(kube::StringAt(source, {"type"}));
  std::string mapped = RewritePaths(path, options.host_paths);
  if (type == "DirectoryOrCreate") RETURN_IF_ERROR(base::CreateDirectories(mapped, 0755));
  if ((type == "Directory" || type == "File") && !base::FileExists(mapped)) {
    return absl::NotFoundError(absl::StrFormat("hostPath type check failed: %s is not a %s", mapped,
                                               type == "File" ? "file" : "directory"));
  }
  return mapped;
}

absl::StatusOr<std::string> PrepareVolume(const kube::Object& pod, const json::value& volume,
                                          const PodSources& sources, const VolumeOptions& options) {
  const std::string folder =
      absl::StrFormat("%s/volumes/%s", options.pod_folder, kube::StringAt(volume, {"name"}));
  if (const json::value* host = kube::FindPath(volume, {"hostPath"})) {
    return HostPath(*host, options);
  }
  if (HasContent(volume)) {
    ASSIGN_OR_RETURN(const VolumeFiles files, FilesOfVolume(pod, volume, sources));
    RETURN_IF_ERROR(WriteContent(folder, files));
    return folder;
  }
  std::string_view claim = kube::StringAt(volume, {"persistentVolumeClaim", "claimName"});
  std::string ephemeral;
  if (kube::FindPath(volume, {"ephemeral"}) != nullptr) {
    ephemeral = absl::StrFormat("%s-%s", pod.name(), kube::StringAt(volume, {"name"}));
    claim = ephemeral;
  }
  std::string path = claim.empty() ? folder
                                   : absl::StrFormat("%s/%s/%s", options.claim_folder,
                                                     pod.namespace_name(), claim);
  RETURN_IF_ERROR(base::CreateDirectories(path, 0755));
  return path;
}

}  // namespace

absl::StatusOr<VolumeFiles> FilesOfVolume(const kube::Object& pod, const json::value& volume,
                                          const PodSources& sources) {
  FileCollector files(pod, sources);
  const auto mode = [&](std::string_view kind) {
    return static_cast<unsigned>(kube::IntAt(volume, {kind, "defaultMode"}, 0644));
  };
  if (const json::value* map = kube::FindPath(volume, {"configMap"})) {
    RETURN_IF_ERROR(files.AddObject(*map, false, mode("configMap")));
  }
  if (const json::value* secret = kube::FindPath(volume, {"secret"})) {
    RETURN_IF_ERROR(files.AddObject(*secret, true, mode("secret")));
  }
  if (const json::value* downward = kube::FindPath(volume, {"downwardAPI"})) {
    RETURN_IF_ERROR(files.AddDownward(*downward, mode("downwardAPI")));
  }
  if (const json::value* projected = kube::FindPath(volume, {"projected"})) {
    for (const json::value& source : ArrayAt(*projected, "sources")) {
      RETURN_IF_ERROR(AddProjection(source, mode("projected"), files));
    }
  }
  return files.Take();
}

bool HasChangingVolumes(const kube::Object& pod) {
  const json::value* volumes = pod.Find({"spec", "volumes"});
  return volumes != nullptr && volumes->is_array() &&
         std::ranges::any_of(volumes->get_array(), HasContent);
}

absl::StatusOr<std::map<std::string, std::string>> PrepareVolumes(const kube::Object& pod,
                                                                  const PodSources& sources,
                                                                  const VolumeOptions& options) {
  std::map<std::string, std::string> folders;
  const json::value* volumes = pod.Find({"spec", "volumes"});
  if (volumes == nullptr || !volumes->is_array()) return folders;
  for (const json::value& volume : volumes->get_array()) {
    const std::string name(kube::StringAt(volume, {"name"}));
    absl::StatusOr<std::string> folder = PrepareVolume(pod, volume, sources, options);
    if (!folder.ok()) {
      return base::Annotate(folder.status(),
                            absl::StrFormat("MountVolume.SetUp failed for volume \"%s\"", name));
    }
    folders[name] = std::move(*folder);
  }
  return folders;
}

}  // namespace local_cluster
