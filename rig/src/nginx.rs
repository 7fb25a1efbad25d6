//! A real nginx with the RTMP module.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::{Output, Process};
use crate::{free_port, until};

/// A running nginx-rtmp with one application, `live`, `/stat` and `/control`, HLS at `/hls/NAME.m3u8` in fragments of a
/// second or a group of pictures, and a folder of files at `/files/`.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    rtmp: u16,
    http: u16,
    folder: TempDir,
}

impl Nginx {
    /// Starts nginx; publish hooks go to `hook`, where one is given.
    ///
    /// # Errors
    /// When nginx or its RTMP module is missing, or does not come up.
    pub fn start(hook: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (rtmp, http) = (free_port()?, free_port()?);
        let configuration = configuration(folder.path(), rtmp, http, hook);
        std::fs::create_dir(folder.path().join("files"))?;
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let process = start(folder.path())?;
        let nginx = Self { process, rtmp, http, folder };
        nginx.wait_until_up()?;
        Ok(nginx)
    }

    fn wait_until_up(&self) -> Result<()> {
        until("nginx to answer", Duration::from_secs(10), || self.stat().ok())
            .map(drop)
            .with_context(|| format!("nginx said: {}", self.process.log()))
    }

    /// Kills nginx and starts it again on the same ports.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart(&mut self) -> Result<()> {
        self.process.signal("KILL")?;
        self.process.wait(Duration::from_secs(5))?;
        self.process = start(self.folder.path())?;
        self.wait_until_up()
    }

    /// The process, to be stopped and continued.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// `rtmp://127.0.0.1:PORT`.
    pub fn rtmp(&self) -> String {
        format!("rtmp://127.0.0.1:{}", self.rtmp)
    }

    /// `http://127.0.0.1:PORT`, where `/stat` and `/control` are.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// The folder that is served at `/files/`.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// What was asked for below `/hls/` and `/files/` so far, and how it was answered: `200 /hls/cam.m3u8`.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("requests.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// The server's own account of its streams, as XML.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn stat(&self) -> Result<String> {
        Ok(ureq::get(format!("{}/stat", self.http())).call()?.body_mut().read_to_string()?)
    }

    /// The client id of the publisher on `name`, if there is one: read from `/stat` by hand, so that a mistake in
    /// Sluicegate's own reading of it cannot hide.
    pub fn publisher(&self, name: &str) -> Option<String> {
        let stat = self.stat().ok()?;
        let stream = stat.split("<stream>").find(|stream| stream.contains(&format!("<name>{name}</name>")))?;
        let client = stream.split("<client>").find(|client| client.contains("<publishing/>"))?;
        Some(client.split("<id>").nth(1)?.split("</id>").next()?.to_owned())
    }

    /// Bytes that the publisher on `name` has sent so far.
    pub fn bytes_in(&self, name: &str) -> Option<u64> {
        let stat = self.stat().ok()?;
        let stream = stat.split("<stream>").find(|stream| stream.contains(&format!("<name>{name}</name>")))?;
        stream.split("<bytes_in>").nth(1)?.split("</bytes_in>").next()?.parse().ok()
    }
}

fn start(folder: &Path) -> Result<Process> {
    let args = ["-p", &folder.display().to_string(), "-c", "nginx.conf", "-e", "error.log"].map(String::from);
    Process::start(Path::new("/usr/sbin/nginx"), &args, &folder.join("nginx.log"), Output::Logged)
}

fn configuration(folder: &Path, rtmp: u16, http: u16, hook: Option<&str>) -> String {
    let hooks = hook.map_or_else(String::new, |url| {
        format!("on_publish {url};\n      on_publish_done {url};\n      notify_method post;")
    });
    // One process: /stat and /control speak only for the worker that answers, and a single pid is easily ended.
    format!(
        r"load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
master_process off;
error_log {folder}/error.log warn;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
rtmp {{
  server {{
    listen 127.0.0.1:{rtmp};
    chunk_size 4096;
    application live {{
      live on;
      hls on;
      hls_path {folder}/hls;
      hls_fragment 1s;
      hls_playlist_length 8s;
      {hooks}
    }}
  }}
}}
http {{
  access_log off;
  log_format requests '$status $uri';
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{http};
    location /stat {{ rtmp_stat all; }}
    location /control {{ rtmp_control all; }}
    location /ok {{ return 200; }}
    location /hls/ {{ root {folder}; access_log {folder}/requests.log requests; }}
    location /files/ {{ root {folder}; access_log {folder}/requests.log requests; }}
  }}
}}
",
        folder = folder.display()
    )
}
