/** Pictures on buttons, in a square of 24. */
export const PLAY = "M7 4l14 8-14 8z";
export const PAUSE = "M6 4h4v16H6zM14 4h4v16h-4z";
export const DOWNLOAD = "M11 3h2v9.2l3.3-3.3 1.4 1.4L12 16l-5.7-5.7 1.4-1.4 3.3 3.3zM4 19h16v2H4z";
export const SHARE = "M12 2l5 5-1.4 1.4L13 5.8V15h-2V5.8L8.4 8.4 7 7zM5 10h3v2H6v8h12v-8h-2v-2h4v12H4V10z";
export const DELETE = "M9 3h6v2h5v2H4V5h5zM6 8h12l-1 13H7zm3 2l.5 9h1.5l-.4-9zm4.4 0l-.4 9h1.5l.5-9z";
export const RENAME = "M16.5 3l4.5 4.5L8.5 20H4v-4.5zM6 16.3V18h1.7l8.5-8.5-1.7-1.7z";

export function Icon({ path }: { path: string }) {
  return (
    <svg viewBox="0 0 24 24" aria-hidden="true">
      <path d={path} />
    </svg>
  );
}
