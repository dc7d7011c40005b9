/* What `rkt list` cannot beat: the same files of the same pods, read as lean as C can. For each pod directory below
 * the given one: open, a lock test, the files named on the command line read (one small read each), the start time by a stat of `pid`.
 * Usage: list PODS FILE... ; prints the number of pods. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char buffer[65536];
    int pods = 0;
    if (argc < 2)
        return 2;
    DIR *dir = opendir(argv[1]);
    if (!dir)
        return 1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        int pod = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (pod < 0)
            continue;
        struct stat stat;
        flock(pod, LOCK_SH | LOCK_NB);
        for (int i = 2; i < argc; i++) {
            int file = openat(pod, argv[i], O_RDONLY | O_CLOEXEC);
            if (file < 0)
                continue;
            if (read(file, buffer, sizeof buffer) < 0)
                return 1;
            close(file);
        }
        fstatat(pod, "pid", &stat, AT_SYMLINK_NOFOLLOW);
        close(pod);
        pods++;
    }
    printf("%d\n", pods);
    return 0;
}
