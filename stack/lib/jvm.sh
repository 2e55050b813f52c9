# shellcheck shell=bash
# How JVMs are started: servers that stay (jvm), and tools that run for a second (jvm_tool).
#
# Most of a start is reading and checking classes. What the first servers on these jars have read is noted down once the
# connector runs (note_classes); whoever starts after them maps it from that file, in half the time. A file that does not fit
# (another Java, other jars) is ignored by the JVM.

SERVER_FLAGS=(-server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExplicitGCInvokesConcurrent -XX:+ExitOnOutOfMemoryError
    -Djava.awt.headless=true)
# For JVMs that live for a minute (test_pipeline.sh says so): in that time the compiler for long lives takes more than it gives.
SHORT_LIVED=(-XX:TieredStopAtLevel=1)

# class_path: sets CLASS_PATH, what each of ours is started with
class_path() { CLASS_PATH=(-cp "$JARS/libs/*" "-Dlog4j2.configurationFile=$ROOT/stack/config/log4j2.xml"); }

# classes_of PART: where its classes are noted down; of this java, which an update replaces
classes_of() { printf '%s/%s-%s.jsa' "$JARS" "$1" "$(stat -Lc %Y -- "$JAVA")"; }

# jvm PART HEAP… -- CLASS ARGUMENT…: spawns it
jvm() {
    local part=$1 flags=("${SERVER_FLAGS[@]}") classes
    shift
    while [[ $1 != -- ]]; do flags+=("$1") && shift; done
    shift
    if [[ -n ${DELTAFAN_SHORT_LIVED:-} ]]; then flags+=("${SHORT_LIVED[@]}"); fi
    classes=$(classes_of "$part")
    if [[ -r $classes ]]; then
        flags+=("-XX:SharedArchiveFile=$classes")
    elif [[ -w $JARS ]]; then
        flags+=(-XX:+RecordDynamicDumpInfo)
    fi
    class_path
    spawn "$part" "$JAVA" "${flags[@]}" "${CLASS_PATH[@]}" "$@"
}

CLASSES_MIB=500 # free on the disk, for each archive takes 50
# note_classes PART: of a server that serves, by what jcmd is made of (a mere JRE has the module, though not the program). That it
# can't, in a folder of somebody else's for instance, only costs time.
note_classes() {
    local classes
    classes=$(classes_of "$1")
    if [[ -e $classes || ! -w $JARS || $classes == *[[:space:]]* ]] || ! is_alive "$1"; then return 0; fi
    # A JVM that can't write it ends, and so does one that maps a part of it: it is whole and on the disk before it has its name.
    if (($(df -Pm -- "$JARS" | awk 'NR == 2 { print $4 }') < CLASSES_MIB)); then return 0; fi
    if timeout 30 "$JAVA" "${SHORT_LIVED[@]}" -m jdk.jcmd/sun.tools.jcmd.JCmd "$PID" VM.cds dynamic_dump "$classes.$PID" \
        >/dev/null 2>&1 9>&- && [[ -s $classes.$PID ]] && sync -- "$classes.$PID"; then
        mv -f -- "$classes.$PID" "$classes"
    else
        rm -f -- "$classes.$PID"
    fi
}

# jvm_tool HEAP CLASS ARGUMENT…: sets TOOL, the command that runs it
jvm_tool() {
    local heap=$1 classes
    shift
    class_path
    classes=$(classes_of kafka)
    TOOL=("$JAVA" "${SHORT_LIVED[@]}" "$heap")
    if [[ -r $classes ]]; then TOOL+=("-XX:SharedArchiveFile=$classes"); fi
    TOOL+=("${CLASS_PATH[@]}" "$@")
}
